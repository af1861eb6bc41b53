"""What a benchmark gives: figures with their targets, as a table for the terminal and for docs/benchmarks.md."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from unroll.errors import UnrollError

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
COLUMNS = ("what", "ours", "reference", "ratio", "target", "met", "repeated")


class BenchmarkError(UnrollError):
    """Something that cannot be measured here."""


@dataclass(frozen=True)
class Figure:
    """One measured thing beside its target.

    Attributes:
        what: In a few words.
        ours: In `unit`.
        reference: In `unit`; None where the target is a number of units and no ratio.
        ratio: Ours to the reference; None where there is no reference.
        unit: Of `ours` and `reference`.
        target: Bound of the ratio, or of `ours` where there is none.
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
    """A benchmark's outcome.

    Attributes:
        title: Heading of its section.
        figures: In the table's order.
        note: What was compared with what, in a sentence or two.
    """

    title: str
    figures: tuple[Figure, ...]
    note: str


def side_by_side(
    ours: Callable[[], float], reference: Callable[[], float], repeats: int
) -> tuple[list[float], list[float]]:
    """Measures ours, the reference, ours, the reference …: what else the machine does falls on both."""
    pairs = [(ours(), reference()) for _ in range(repeats)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def compare(
    what: str, ours: Sequence[float], reference: Sequence[float], unit: str, *, target: float, at_least: bool
) -> Figure:
    """A figure of measurements that were taken side by side.

    The ratio is the median of the pairs' ratios, not the ratio of the medians: a pair that ran while the machine was
    busy is slow on both sides, and its ratio still holds.
    """
    ratio = median(mine / other for mine, other in zip(ours, reference, strict=True))
    return Figure(what, median(ours), median(reference), ratio, unit, target, at_least, len(ours))


def absolute(what: str, value: float, unit: str, *, at_most: float, repeated: int) -> Figure:
    """A figure whose target is a number of units."""
    return Figure(what, value, None, None, unit, at_most, False, repeated)


def table(figures: Sequence[Figure]) -> str:
    """A Markdown table whose columns are aligned for the terminal, too."""
    rows = [COLUMNS, *(figure.cells for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    # Names to the left, numbers to the right.
    lines = [_line([_pad(cell, width, at) for at, (cell, width) in enumerate(zip(row, widths, strict=True))])
             for row in rows]  # fmt: skip
    rule = _line(["-" * width if at == 0 else "-" * (width - 1) + ":" for at, width in enumerate(widths)])
    return "\n".join([lines[0], rule, *lines[1:]])


def section(report: Report, machine: str) -> str:
    """A report as a section of docs/benchmarks.md."""
    return f"### {report.title}\n\n{table(report.figures)}\n\n{report.note}\n\nMeasured {machine}.\n"


def with_sections(text: str, sections: Mapping[str, str], order: Sequence[str]) -> str:
    """Puts sections between the markers of a page; those that are there and were not measured anew stay.

    Args:
        text: The page.
        sections: Title → section.
        order: Titles of all benchmarks.

    Raises:
        BenchmarkError: The page does not have both markers, in their order.
    """
    before, found_begin, rest = text.partition(BEGIN)
    inside, found_end, after = rest.partition(END)
    if not (found_begin and found_end):
        raise BenchmarkError(f"the page for the figures lacks {BEGIN} or, after it, {END}; put both back")
    kept = {part.partition("\n")[0].removeprefix("### "): part.strip() + "\n"
            for part in re.split(r"^(?=### )", inside, flags=re.MULTILINE) if part.startswith("### ")}  # fmt: skip
    kept |= sections
    parts = [kept[title] for title in order if title in kept]
    return f"{before}{BEGIN}\n\n" + "\n".join(parts) + f"\n{END}{after}"


def _amount(value: float, unit: str) -> str:
    """Three significant digits or all before the point: `0.0123 s`, `4.57 s`, `8,123 samples/s`."""
    return f"{value:,.0f} {unit}" if abs(value) >= 100 else f"{value:.3g} {unit}"


def _pad(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column == 0 else cell.rjust(width)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
