"""Times of a series: how they are written, their frequency, and what is known of a time in advance."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll.errors import DataError

Times = NDArray[np.datetime64]
"""datetime64[s]."""
_DAY = 86_400
_YEAR = 365.2425 * _DAY


def parse_time(text: str, date_format: str | None) -> datetime:
    """Return a time without an offset; one with an offset is converted to UTC.

    Raises:
        ValueError: It is not in the format, or without one not in ISO 8601; or it has fractions of a second.
    """
    if date_format:
        found = datetime.strptime(text, date_format)
    else:
        text = re.sub(r"^(\d{4})/(\d{1,2})/", r"\1-\2-", text)
        found = datetime.fromisoformat({4: f"{text}-01-01", 7: f"{text}-01"}.get(len(text), text))
    if found.tzinfo is not None:
        found = found.astimezone(UTC).replace(tzinfo=None)
    if found.microsecond:
        raise ValueError(text)
    return found


@dataclass(frozen=True)
class Frequency:
    """The step between the times of a series.

    Attributes:
        count: Number of units.
        unit: Seconds, months, or weekdays (Monday to Friday).
        month_end: Whether times are last days of months.
    """

    count: int
    unit: str
    month_end: bool = False

    def index(self, times: Times) -> NDArray[np.int64]:
        """Return the number of steps from the first time to each; -1 for one that is not a whole number of steps."""
        if self.unit == "weekdays":
            found = np.busday_count("1970-01-01", times.astype("datetime64[D]"))
            odd = ~np.is_busday(times.astype("datetime64[D]"))
        elif self.unit == "months":
            found = times.astype("datetime64[M]").astype(np.int64)
            odd = _within_month(times, self.month_end) != _within_month(times[:1], self.month_end)
        else:
            found = times.astype("datetime64[s]").astype(np.int64)
            odd = np.zeros(len(times), bool)
        steps: NDArray[np.int64] = np.where(odd | ((found - found[0]) % self.count != 0), -1, found - found[0])
        return steps // self.count

    def after(self, last: np.datetime64, steps: int) -> Times:
        """Return the times of the next steps."""
        ahead = self.count * np.arange(1, steps + 1)
        found: Times
        if self.unit == "weekdays":
            days = np.busday_offset(last.astype("datetime64[D]"), ahead, roll="backward")
            found = days.astype("datetime64[s]") + (last - last.astype("datetime64[D]"))
        elif self.unit == "months":
            months = last.astype("datetime64[M]") + ahead
            inside = _within_month(np.array([last]), self.month_end)[0].astype("timedelta64[s]")
            ends = (months + 1).astype("datetime64[s]") - np.timedelta64(_DAY, "s") + inside % np.timedelta64(_DAY, "s")
            # February has no 30th.
            found = np.minimum((months + int(self.month_end)).astype("datetime64[s]") + inside, ends)
        else:
            found = last + ahead.astype("timedelta64[s]")
        return found

    def __str__(self) -> str:
        """Return the step in words: `1 hour`, `7 days`, `3 months`."""
        if self.unit != "seconds":
            return f"{self.count} {self.unit if self.count > 1 else self.unit[:-1]}"
        for size, name in ((_DAY, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
            if self.count % size == 0:
                number = self.count // size
                return f"{number} {name}{'s' * (number != 1)}"
        raise AssertionError(self.count)


def _within_month(times: Times, month_end: bool) -> NDArray[np.int64]:
    """Return the seconds since the month began, or until it ends."""
    months = times.astype("datetime64[M]")
    edge = (months + int(month_end)).astype("datetime64[s]")
    seconds: NDArray[np.int64] = (times.astype("datetime64[s]") - edge).astype(np.int64)
    return seconds


def frequency_of(series: Sequence[Times]) -> Frequency:
    """Return the step that most rows of the series have: sorted times, at least two in one of them.

    Raises:
        DataError: No series has two times.
    """
    steps = np.concatenate([np.diff(times).astype("timedelta64[s]").astype(np.int64) for times in series])
    if not len(steps):
        raise DataError("a series needs at least two times, to show the step between them")
    sizes, counts = np.unique(steps, return_counts=True)
    step = int(sizes[counts.argmax()])
    longest = max(series, key=len)
    if step >= 28 * _DAY:
        months = np.concatenate([np.diff(times.astype("datetime64[M]").astype(np.int64)) for times in series])
        for month_end in (False, True):
            inside = [_within_month(times, month_end) for times in series]
            if all((one == one[0]).all() for one in inside) and months.min() > 0:
                lengths, seen = np.unique(months, return_counts=True)
                return Frequency(int(lengths[seen.argmax()]), "months", month_end)
    if (
        step == _DAY
        and len(longest) > 10
        and all(np.is_busday(times.astype("datetime64[D]")).all() for times in series)
    ):
        return Frequency(1, "weekdays")
    return Frequency(step, "seconds")


_PERIODS = {"day": (_DAY, 0), "week": (7 * _DAY, 3 * _DAY), "year": (_YEAR, 0)}
"""Seconds of each period, and what is added to the seconds since 1970, which began on a Thursday."""


def periods_of(times: Times, frequency: Frequency) -> tuple[str, ...]:
    """Return the periods of the calendar that the times show: at least twice, and with more than two steps in each."""
    step = frequency.count * {"seconds": 1, "weekdays": _DAY, "months": _YEAR / 12}[frequency.unit]
    span = float((times.max() - times.min()).astype("timedelta64[s]").astype(np.int64))
    return tuple(name for name, (period, _) in _PERIODS.items() if step * 2 < period and 2 * period <= span)


def calendar(times: Times, periods: Sequence[str]) -> NDArray[np.float64]:
    """Return where times are in each period, as sine and cosine: float64 [time, 2 × period]."""
    seconds = times.astype("datetime64[s]").astype(np.int64)
    found = np.zeros((len(times), 2 * len(periods)))
    for place, name in enumerate(periods):
        period, offset = _PERIODS[name]
        phase = 2 * np.pi * ((seconds + offset) % period) / period
        found[:, 2 * place], found[:, 2 * place + 1] = np.sin(phase), np.cos(phase)
    return found


def to_times(values: Sequence[Any]) -> Times:
    """Return datetimes as datetime64[s]."""
    return np.array(values, "datetime64[s]")
