"""Windows over daily series."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll.errors import SplitError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """Rows of one ticker, oldest first.

    Attributes:
        ticker: Name of the ticker.
        days: int32 [day], days since 1970-01-01.
        values: float64 [day, column], raw units.
        target: float64 [day], the forecast column.
        known: float64 [day], the last known price once the day is over: the target, or the close if the next opening
            price is forecast.
    """

    ticker: str
    days: NDArray[np.int32]
    values: Floats
    target: Floats
    known: Floats


def windows(series: tuple[Series, ...], length: int, *, every_step: bool, task: str) -> dict[str, NDArray[Any]]:
    """Return all windows that are followed by a day.

    Example:
        Closes 10, 11, 12, 13 and length 2: inputs (10, 11), (11, 12); targets 12, 13; last 11, 12. With `every_step`
        the targets are (11, 12), (12, 13) and last is (10, 11), (11, 12).

    Args:
        series: Rows of each ticker.
        length: Days in a window.
        every_step: Whether there is a target for every step of the window, not only for the last.
        task: Name of the task, for error messages.

    Returns:
        inputs float32 [sample, length, column]; targets and last (the last known price at that time)
        float32 [sample] or [sample, length]; day int32 [sample], the last forecast day; first_target_day and
        first_input_day int32 [sample]; series int32 [sample], the position of the ticker.

    Raises:
        SplitError: A ticker has too few rows for a window and the day after it.
    """
    pieces: list[dict[str, NDArray[Any]]] = []
    for position, one in enumerate(series):
        rows = len(one.days)
        if rows < length + 1:
            raise SplitError(
                f"tasks.{task}: {one.ticker} has {rows} rows, but a window of {length} days and the day after it need "
                f"{length + 1}; reduce tasks.{task}.window or use more data"
            )
        starts = np.arange(rows - length)
        steps = starts[:, None] + np.arange(length)
        last, target = one.known[steps], one.target[steps + 1]
        end = starts + length
        pieces.append(
            {
                "inputs": one.values[steps].astype(np.float32),
                "targets": (target if every_step else target[:, -1]).astype(np.float32),
                "last": (last if every_step else last[:, -1]).astype(np.float32),
                "day": one.days[end],
                "first_target_day": one.days[starts + 1] if every_step else one.days[end],
                "first_input_day": one.days[starts],
                "series": np.full(len(starts), position, np.int32),
            }
        )
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
