"""Results of benchmarks: figures with their targets, as a Markdown section, and the machine in words."""

import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from statistics import median

from unroll.errors import UnrollError

CORES = 2
"""The targets are about so many."""
COLUMNS = ("what", "ours", "reference", "ratio", "target", "met", "repeated")


class BenchmarkError(UnrollError):
    """Something that cannot be measured here."""


@dataclass(frozen=True)
class Figure:
    """One measured thing beside its target.

    Attributes:
        what: In a few words.
        ours: In `unit`.
        reference: In `unit`; None if the target is a number of units and not a ratio.
        ratio: Ours to the reference, or the other way round where both are times and the target is a lower bound; None
            if there is no reference.
        unit: Of `ours` and `reference`.
        target: Bound of the ratio, or of `ours` if there is none.
        at_least: Whether the target is a lower bound; otherwise it is an upper one.
        repeated: How often ours was measured, and the reference as often.
    """

    what: str
    ours: float
    reference: float | None
    ratio: float | None
    unit: str
    target: float
    at_least: bool
    repeated: int

    @property
    def met(self) -> bool:
        """Whether the target is met, as measured and not as rounded for the table."""
        value = self.ours if self.ratio is None else self.ratio
        return value >= self.target if self.at_least else value <= self.target

    @property
    def cells(self) -> tuple[str, ...]:
        """One text a column."""
        bound = f"{'≥' if self.at_least else '≤'} {self.target:g}"
        return (
            self.what,
            _amount(self.ours, self.unit),
            "–" if self.reference is None else _amount(self.reference, self.unit),
            "–" if self.ratio is None else f"{self.ratio:.3f}",
            f"{bound} {self.unit}" if self.ratio is None else bound,
            "yes" if self.met else "NO",
            f"{self.repeated} ×",
        )


@dataclass(frozen=True)
class Report:
    """A benchmark's outcome; `note` says what was compared with what, in a sentence or two."""

    title: str
    figures: tuple[Figure, ...]
    note: str


def side_by_side(
    ours: Callable[[], float], reference: Callable[[], float], repeats: int
) -> tuple[list[float], list[float]]:
    """Measure ours, the reference, ours, the reference …: what else the machine does falls on both."""
    pairs = [(ours(), reference()) for _ in range(repeats)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def compare(
    what: str, ours: Sequence[float], reference: Sequence[float], unit: str, *, target: float, at_least: bool
) -> Figure:
    """Return a figure of measurements that were taken side by side.

    The ratio is the median of the pairs' ratios, not the ratio of the medians: a pair that ran while the machine was
    busy is slow on both sides, and its ratio still holds.
    """
    ratio = median(mine / other for mine, other in zip(ours, reference, strict=True))
    return Figure(what, median(ours), median(reference), ratio, unit, target, at_least, len(ours))


def processor_ratio(
    what: str, ours: Callable[[], float], reference: Callable[[], float], repeats: int, target: float
) -> Figure:
    """Return how many times as fast ours is, of processor seconds measured in turn.

    The least of each side counts: whatever else the machine does can only add to it.
    """
    mine, theirs = (min(side) * 1000 for side in side_by_side(ours, reference, repeats))
    return Figure(what, mine, theirs, theirs / mine, "ms", target, True, repeats)


def least_step(ends: Sequence[float]) -> float:
    """Return the shortest time from the end of a step to that of the next, so without the first one, which warms up."""
    return min(after - before for before, after in pairwise(ends))


def section(report: Report, before: str) -> str:
    """Return a report as a section of docs/benchmarks.md, whose table is aligned for the terminal, too."""
    rows = [COLUMNS, *(figure.cells for figure in report.figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = [f"<{widths[0]}", *(f">{width}" for width in widths[1:])]
    lines = [[format(*pair) for pair in zip(row, aligned, strict=True)] for row in rows]
    lines.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"### {report.title}\n\n{table}\n\n{report.note}\n\nMeasured {before}.\n"


def machine() -> str:
    """Return date, processor, cores, memory, present load and versions."""
    cpu = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.+)$", cpu.read_text(), re.MULTILINE) if cpu.exists() else None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ("torch", "onnxruntime", "pyarrow", "dvc", "prefect")
    versions = ", ".join(f"{name} {version(name).partition('+')[0]}" for name in packages)
    return (
        f"{date.today().isoformat()} on {model[1] if model else platform.machine()}, {CORES} cores, {memory:.0f} GiB; "
        f"load average before: {os.getloadavg()[0]:.1f}; Python {platform.python_version()}, {versions}"
    )


def python(*arguments: str) -> str:
    """Return what a fresh Python process prints."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"python {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout


def processor_seconds(*arguments: str) -> tuple[float, str]:
    """Run `benchmarks.processes` in a fresh process.

    Returns:
        The processor seconds of it and of its own processes, and the last word that it prints.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    printed = python("-m", "benchmarks.processes", *arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, printed.split()[-1]


def _amount(value: float, unit: str) -> str:
    """Three significant digits or all before the point: `0.0123 s`, `4.57 s`, `8,123 samples/s`."""
    return f"{value:,.0f} {unit}" if abs(value) >= 100 else f"{value:.3g} {unit}"
