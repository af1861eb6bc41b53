"""Expected duration of each stage: its last duration here or, if there is none, that of a measured default run."""

import json
import threading
from collections.abc import Collection, Mapping
from pathlib import Path

from unroll import paths
from unroll.files import digest_of, write_json

_SHIPPED = Path(__file__).with_name("seconds.json")
_OWN = paths.STATE / "seconds.json"
_UNKNOWN = {"train": 60.0}
"""Seconds of stages that have never run, by verb; the others take about ten."""


class Estimates:
    """Expected seconds of each stage; measured durations are kept for the next run."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {**_read(_SHIPPED), **_read(_OWN)}
        self._measured: dict[str, float] = {}
        self._lock = threading.Lock()

    def of(self, stage: str) -> float:
        """Return the expected seconds of a stage."""
        return self._seconds.get(stage) or _UNKNOWN.get(stage.partition("@")[0], 10.0)

    def measured(self, stage: str, seconds: float) -> None:
        """Keep how long a stage has taken; of a training run, also in earlier processes that were interrupted."""
        verb, _, name = stage.partition("@")
        if verb == "train":
            trained = seconds_of_training(name)
            if trained is None:  # DVC has restored it
                return
            seconds = max(seconds, trained)
        with self._lock:
            self._measured[stage] = round(seconds, 1)
            write_json(_OWN, {**_read(_OWN), **self._measured})

    def left(
        self, running: Mapping[str, float], waiting: Collection[str], to_end: Mapping[str, float], slots: int
    ) -> float:
        """Return the expected seconds until all stages are done.

        Args:
            running: Stage -> the seconds for which it has run.
            waiting: The stages that have not begun.
            to_end: Stage -> the expected seconds from its start to the end of the graph.
            slots: The number of stages at a time.
        """
        # This machine may be slower or faster than the one of the estimates.
        with self._lock:
            measured = dict(self._measured)
        expected = sum(self.of(stage) for stage in measured)
        pace = sum(measured.values()) / expected if expected else 1.0
        work = sum(max(0.0, pace * self.of(stage) - seconds) for stage, seconds in running.items())
        work += pace * sum(self.of(stage) for stage in waiting)
        chains = [pace * to_end[stage] - seconds for stage, seconds in running.items()]
        chains += [pace * to_end[stage] for stage in waiting]
        return max(work / slots, *chains, 0.0)


def seconds_of_training(experiment: str) -> float | None:
    """Return how long the present weights took to train; None if this machine did not train them."""
    try:
        timing = json.loads(paths.timing(experiment).read_text(encoding="utf-8"))
        # DVC may have restored the weights of another training run; it does not track timings.
        ours = timing["weights_sha256"] == digest_of(paths.weights(experiment))
        return float(timing["seconds"]) if ours else None
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return None


def _read(path: Path) -> dict[str, float]:
    try:
        return {str(stage): float(seconds) for stage, seconds in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
