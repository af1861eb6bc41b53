"""The rows of the leaderboard, for its page and for the terminal."""

from collections.abc import Iterable
from typing import Any

from unroll import paths
from unroll.files import read_json


def read_results(names: Iterable[str]) -> list[dict[str, Any]]:
    """Return the results of those experiments that have one, by task and name."""
    results = [read_json(paths.result(name)) for name in names if paths.result(name).is_file()]
    return sorted(results, key=lambda result: (result["task"], result["experiment"]))


def cell(value: object) -> str:
    """Return a value as text, a float with five significant digits: `0.98870000001` -> `0.9887`."""
    if value is None or value != value:  # NaN
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)
