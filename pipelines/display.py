"""The display of a running training: a growing table on a terminal, elsewhere one line per stage."""

import json
import threading
import time
from collections.abc import Callable, Collection, Mapping

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipelines.summary import leaderboard_table, print_line, read_results
from unroll import paths
from unroll.redaction import redacted

QUIET_SECONDS = 25.0
"""Elsewhere than on a terminal, lines of a running stage are shown this far apart."""


class Display:
    """Shows the stages of a run; its methods are called from several threads.

    Args:
        stages: All stages of the run.
        seconds_left: Running stage -> seconds for which it has run → expected seconds to the end of the run.
    """

    def __init__(self, stages: Collection[str], seconds_left: Callable[[Mapping[str, float]], float]) -> None:
        self._left, self._total, self._failed = set(stages), len(stages), 0
        self._seconds_left = seconds_left
        self._began: dict[str, float] = {}
        self._shown: dict[str, float] = {}
        self._last: dict[str, str] = {}
        self._results = self._read_results()
        self._lock = threading.RLock()
        console = Console()
        # Transient: the final table comes in its place.
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=2, transient=True)
        if console.is_terminal:
            self._live.start()

    def started(self, stage: str) -> None:
        """Show that a stage runs."""
        with self._lock:
            self._began[stage] = self._shown[stage] = time.monotonic()
            self._last[stage] = ""

    def line(self, stage: str, text: str) -> None:
        """Show some of the lines that a running stage prints."""
        with self._lock:
            self._last[stage] = text
            if not self._live.is_started and time.monotonic() - self._shown[stage] >= QUIET_SECONDS:
                self._shown[stage] = time.monotonic()
                print_line(f"{stage} | {text}")

    def ended(self, stage: str, *, failed: bool = False) -> float:
        """Show that a stage has ended, and return its duration in seconds."""
        with self._lock:
            seconds = time.monotonic() - self._began.pop(stage)
            if failed:
                self._failed += 1
            else:
                self._left.discard(stage)
                if stage.startswith("export@"):
                    self._results = self._read_results()
            if not self._live.is_started:
                done = f"{self._total - len(self._left):>{len(str(self._total))}}/{self._total}"
                last = "" if failed or not self._last[stage] else f"   {self._last[stage]}"
                print_line(f"[{done}] {stage}: {'FAILED after' if failed else 'done in'} {seconds:.1f} s{last}")
        return seconds

    def close(self) -> None:
        """Remove the live display."""
        if self._live.is_started:
            self._live.stop()

    def _read_results(self) -> list[dict[str, str]]:
        """Return the rows of the leaderboard that this run will not change again."""
        return [row for row in read_results() if f"export@{row['experiment']}" not in self._left]

    def _render(self) -> RenderableType:
        with self._lock:
            running = {stage: time.monotonic() - began for stage, began in self._began.items()}
            done, failed, last = self._total - len(self._left), self._failed, dict(self._last)
            results = self._results
        now = Table.grid(padding=(0, 2))
        for stage, seconds in running.items():
            now.add_row(
                stage, duration(seconds), Text(_progress(stage) or last[stage], overflow="ellipsis", no_wrap=True)
            )
        failures = f", {failed} failed" if failed else ""
        left = f"   about {duration(self._seconds_left(running))} left" if running else ""
        line = Text(f"{done} of {self._total} stages done{failures}, {len(running)} running{left}", style="bold")
        return Group(*([leaderboard_table(results)] if results else []), now, line)


def duration(seconds: float) -> str:
    """Return `40 s`, `3 min` or `1 h 5 min`."""
    if seconds < 90:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _progress(stage: str) -> str:
    """Return the progress that a training writes to a file every second; an empty text for other stages."""
    verb, _, name = stage.partition("@")
    if verb != "train":
        return ""
    try:
        at = json.loads(paths.progress(name).read_text(encoding="utf-8"))
        return redacted(
            f"{at['network']}epoch {at['epoch']}/{at['epochs']}  step {at['step']}/{at['steps']}  loss {at['loss']}"
            f"  {at['steps_per_second']:.3g} steps/s  {duration(at['seconds_left'])} left"
        )
    except (OSError, ValueError, KeyError):
        return ""
