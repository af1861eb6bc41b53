"""The display of a running training: a growing table on a terminal, elsewhere one line per stage."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Collection, Mapping

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipelines.summary import leaderboard_table, on_terminal, print_line, read_results
from unroll import paths
from unroll.errors import UnrollError
from unroll.redaction import redacted

QUIET_SECONDS = 25.0
"""Elsewhere than on a terminal, lines of a running stage are shown this far apart."""
_LINES_AROUND = 7
"""Lines of title, frame and header of the leaderboard, the last line, and one to spare."""


class Display:
    """Shows the stages of a run; its methods are called from several threads.

    Args:
        stages: All stages of the run.
        seconds_left: Running stage -> seconds for which it has run → expected seconds to the end of the run.
    """

    def __init__(self, stages: Collection[str], seconds_left: Callable[[Mapping[str, float]], float]) -> None:
        self._left, self._total = set(stages), len(stages)
        self._failed: set[str] = set()
        self._seconds_left = seconds_left
        self._began: dict[str, float] = {}
        self._shown: dict[str, float] = {}
        self._last: dict[str, str] = {}
        # Rows of the leaderboard that this run does not replace, the newest last.
        self._results = [row for row in read_results() if f"export@{row['experiment']}" not in self._left]
        self._lock = threading.RLock()
        self._console = Console()
        self._is_live = on_terminal()
        # Transient: the final table comes in its place.
        self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=2, transient=True)
        if self._is_live:
            self._live.start()

    def started(self, stage: str) -> None:
        """Show that a stage runs."""
        with self._lock:
            self._began[stage] = self._shown[stage] = time.monotonic()
            self._last[stage] = ""
            self._failed.discard(stage)

    def line(self, stage: str, text: str) -> None:
        """Show some of the lines that a running stage prints."""
        with self._lock:
            self._last[stage] = text
            shown = not self._is_live and time.monotonic() - self._shown[stage] >= QUIET_SECONDS
            if shown:
                self._shown[stage] = time.monotonic()
        if shown:
            print_line(f"{stage} | {text}")

    def ended(self, stage: str, *, failed: bool = False) -> float:
        """Show that a stage has ended, and return its duration in seconds."""
        with self._lock:
            seconds, last = time.monotonic() - self._began.pop(stage), self._last[stage]
            (self._failed.add if failed else self._left.discard)(stage)
            done = f"[{self._total - len(self._left):>{len(str(self._total))}}/{self._total}]"
        if failed:
            self._print(f"{done} {stage}: FAILED after {seconds:.1f} s   {last}")
        elif not self._is_live:
            print_line(f"{done} {stage}: done in {seconds:.1f} s   {last}".rstrip())
        else:
            self._add_result(stage)
        return seconds

    def close(self) -> None:
        """Take the live display away."""
        if self._is_live:
            self._live.stop()

    def _print(self, line: str) -> None:
        if self._is_live:
            # Above what is live.
            self._live.console.print(Text(redacted(line), style="red"))
        else:
            print_line(line)

    def _add_result(self, stage: str) -> None:
        verb, _, name = stage.partition("@")
        if verb == "export":
            # A display must not fail a stage: meanwhile DVC may take a result away, and a user may edit params.yaml.
            with contextlib.suppress(UnrollError, OSError, ValueError):
                row = read_results([name])
                with self._lock:
                    self._results += row

    def _render(self) -> RenderableType:
        with self._lock:
            running = {stage: time.monotonic() - began for stage, began in self._began.items()}
            done, failed, last = self._total - len(self._left), len(self._failed), dict(self._last)
            results = list(self._results)
        now = Table.grid(padding=(0, 2))
        for stage, seconds in running.items():
            progress = Text(_progress(stage) or last[stage], overflow="ellipsis", no_wrap=True)
            now.add_row(Text(stage, no_wrap=True), duration(seconds), progress)
        failures = f", {failed} failed" if failed else ""
        left = f"   about {duration(self._seconds_left(running))} left" if running else ""
        line = Text(f"{done} of {self._total} stages done{failures}, {len(running)} running{left}", style="bold")
        # What does not fit on the screen would be cut off at its end.
        room = self._console.height - len(running) - _LINES_AROUND
        shown = results[len(results) - max(0, min(room, len(results))) :]
        return Group(*([leaderboard_table(shown)] if shown else []), now, line)


def duration(seconds: float) -> str:
    """Return `40 s`, `3 min` or `1 h 5 min`."""
    if seconds < 90:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _progress(stage: str) -> str:
    """Return the progress that `train` writes to a file every second; an empty text for other stages."""
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
