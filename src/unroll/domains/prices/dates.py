"""Dates of a price file: one format for a whole file, and days from instants."""

import re
from datetime import timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unroll.domains.prices.cells import FEW, Faults, shown, text_of
from unroll.domains.prices.config import EPOCHS, PriceReading
from unroll.errors import FormatError

Days = NDArray[np.datetime64]

_TIME = re.compile(
    r"(?P<day>.*?)(?:[T ,]+(?P<time>\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?[AaPp][Mm])?)"
    r" ?(?P<offset>Z|UTC|GMT|[+-]\d{2}:?\d{2})?)?"
)
_MONTH = re.compile(r"\b(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?", re.IGNORECASE)
_FORMATS = {
    r"\d{4}-\d{1,2}-\d{1,2}": ("%Y-%m-%d",),
    r"\d{4}/\d{1,2}/\d{1,2}": ("%Y/%m/%d",),
    r"\d{4}\.\d{1,2}\.\d{1,2}": ("%Y.%m.%d",),
    r"(19|20)\d{6}": ("%Y%m%d",),
    r"\d{1,2}\.\d{1,2}\.\d{4}": ("%d.%m.%Y",),
    r"\d{1,2}-[A-Za-z]{3}-\d{4}": ("%d-%b-%Y",),
    r"\d{1,2} [A-Za-z]{3} \d{4}": ("%d %b %Y",),
    r"[A-Za-z]{3} \d{1,2}, ?\d{4}": ("%b %d, %Y",),
    r"\d{4}-[A-Za-z]{3}-\d{1,2}": ("%Y-%b-%d",),
    r"\d{1,2}/\d{1,2}/\d{4}": ("%m/%d/%Y", "%d/%m/%Y"),
    r"\d{1,2}-\d{1,2}-\d{4}": ("%m-%d-%Y", "%d-%m-%Y"),
}
"""Formats by their shape; of two, the file has to decide."""
_EVENING = 20
"""Hour from which a time without a zone may belong to the next day of the exchange."""
_FIRST, _LAST = np.datetime64("0001-01-01"), np.datetime64("9999-12-24")
"""Days that Python and pandas can represent, as they can the trading day after."""
_SECONDS = 9_000_000_000
"""Seconds from 1970 to the year 2255, to which nanoseconds can count."""


def days(cells: pd.Series, reading: PriceReading, faults: Faults) -> tuple[Days, str]:
    """Convert a column of dates, with or without a time of day.

    Args:
        cells: Text, numbers (20220103, or seconds to nanoseconds since 1970), or timestamps.
        reading: `date_format` and `timezone` decide what the file does not.
        faults: Rows without a date are added.

    Returns:
        The days, NaT for faulty rows, and the format that was found.

    Raises:
        FormatError: The format is ambiguous or unknown, or instants need a time zone.
    """
    if isinstance(cells.dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_dtype(cells):
        found, name = _typed(cells, reading), "typed"
    elif pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells):
        found, name = _numbers(cells, reading)
    else:
        found, name = _texts(text_of(cells, "a date"), reading)
    inside = (found >= _FIRST) & (found <= _LAST)
    for row in np.flatnonzero(~inside).tolist():
        outside = "" if np.isnat(found[row]) else f", which is outside {_FIRST} to {_LAST}"
        faults.add(row, f"column date: {shown(cells.iloc[row])}{outside}, expected a date ({name})")
    return np.where(inside, found, np.datetime64("NaT", "D")), name


def _typed(cells: pd.Series, reading: PriceReading) -> Days:
    zone = getattr(cells.dtype, "tz", None)
    if zone is not None and (reading.timezone or _is_utc(str(zone))):
        return _local(cells, reading)
    plain = cells.dt.tz_localize(None)
    if zone is None and reading.timezone is None:
        _check_evening(plain[plain.dt.hour >= _EVENING])
    found: Days = plain.to_numpy().astype("datetime64[D]")
    return found


def _is_utc(zone: str) -> bool:
    return zone.upper() in ("UTC", "Z", "GMT", "+00:00", "+0000", "-00:00", "ETC/UTC", "UTC+00:00")


def _local(instants: pd.Series, reading: PriceReading) -> Days:
    """Return the days of instants in the exchange's time zone; in UTC if all are midnights there."""
    zone = reading.timezone
    if zone is None:
        known = instants[instants.notna()]
        odd = known[known != known.dt.normalize()]
        if len(odd):
            raise FormatError(
                f"column date: {odd.iloc[0]} is an instant, whose day depends on the exchange's time zone; "
                "set `timezone`, as in America/New_York"
            )
        zone = "UTC"
    found: Days = instants.dt.tz_convert(zone).dt.tz_localize(None).to_numpy().astype("datetime64[D]")
    return found


def _check_evening(late: pd.Series) -> None:
    if len(late):
        raise FormatError(
            f"column date: {late.iloc[0]} has no time zone, and may belong to the next day of the exchange; give dates "
            "without a time, or set `timezone` if these are local times there"
        )


def _numbers(cells: pd.Series, reading: PriceReading) -> tuple[Days, str]:
    if pd.api.types.is_integer_dtype(cells):
        whole = (cells.notna() & (cells < 2**63)).to_numpy(dtype=bool)
        numbers = cells.fillna(0).astype("int64").to_numpy()
    else:
        values = cells.to_numpy(dtype="float64", na_value=np.nan)
        whole = np.isfinite(values) & (values == np.round(values)) & (np.abs(values) < 2.0**63)
        numbers = np.where(whole, values, 0).astype("int64")
    wanted = reading.date_format
    dated = ((numbers >= 19_000_101) & (numbers <= 29_991_231))[whole]
    form = wanted or ("%Y%m%d" if dated.size and dated.mean() >= 1 - FEW else None)
    if form and form not in EPOCHS:
        # A number has lost the zeros that a date may begin with.
        width = len(pd.Timestamp(2022, 1, 1).strftime(form))
        return _parsed(
            pd.Series([str(n).zfill(width) if ok else "" for n, ok in zip(numbers, whole, strict=True)]), form
        ), form
    if not whole.any():
        return np.full(len(cells), np.datetime64("NaT", "D")), "numbers"
    unit = form or _epoch_unit(int(np.abs(numbers[whole]).max()))
    usable = whole & (np.abs(numbers) < _SECONDS * 1000 ** EPOCHS.index(unit))
    instants = np.where(usable, numbers, np.iinfo("int64").min).astype(f"datetime64[{unit}]")
    return _local(pd.Series(instants).dt.tz_localize("UTC"), reading), f"{unit} since 1970"


def _epoch_unit(largest: int) -> str:
    """Return the unit in which numbers up to `largest` count to a year from 1973 to 2286."""
    for unit, digits in zip(EPOCHS, (8, 11, 14, 17), strict=True):
        if 10**digits <= largest < 10 ** (digits + 2):
            return unit
    raise FormatError(
        f"column date: {largest} is neither a date such as 20220103 nor a usual count of seconds, milliseconds, "
        f"microseconds or nanoseconds since 1970; set `date_format` to one of {', '.join(EPOCHS)}, "
        "or write dates as 2022-01-03"
    )


def _texts(text: pd.Series, reading: PriceReading) -> tuple[Days, str]:
    known = text[text != ""]
    digits = known.str.fullmatch(r"[+-]?\d+(\.0+)?")
    wanted = reading.date_format
    epochs = wanted in EPOCHS or (
        wanted is None and len(known) and known.str.fullmatch(r"\d{9,19}(\.0+)?").mean() > 0.5
    )
    if epochs:
        plain = known[digits].str.replace(r"\.0+$", "", regex=True)
        numbers = pd.to_numeric(plain, errors="coerce").astype("Int64").reindex(text.index)
        return _numbers(numbers, reading)
    # Most files have neither times nor names of months.
    timed = text.str.contains(":", regex=False).any()
    parts = (
        text.str.extract(f"^{_TIME.pattern}$") if timed else pd.DataFrame({"day": text, "time": None, "offset": None})
    )
    day = parts["day"].fillna("").str.strip()
    if day.str.contains("[A-Za-z]").any():
        day = day.str.replace(_MONTH, lambda month: month[1].title(), regex=True)
    found, name = _decided(day, text, reading)
    return (_in_zone(found, parts, reading) if timed else found), name


def _decided(day: pd.Series, text: pd.Series, reading: PriceReading) -> tuple[Days, str]:
    """Return the days in the one format of the file."""
    known = day != ""
    shapes = {shape: day.str.fullmatch(shape) for shape in _FORMATS}
    shape = max(shapes, key=lambda one: shapes[one].sum())
    fits = shapes[shape]
    wanted = reading.date_format
    # A date that begins with the year needs no format.
    if wanted and not (shape.startswith((r"\d{4}", "(19")) and fits[known].all()):
        return _parsed(day, wanted.replace("%B", "%b")), wanted
    if fits.sum() < (1 - FEW) * known.sum():
        example = text[known & ~fits].iloc[0]
        raise FormatError(
            f"column date: found {example[:40]!r}, expected dates in one format such as 2017-01-31, 31-Jan-2017 or "
            "1/31/2017; set `date_format`"
        )
    return _of_two(day.where(fits, ""), _FORMATS[shape])


def _of_two(day: pd.Series, formats: tuple[str, ...]) -> tuple[Days, str]:
    """Return the days in the format that the cells decide for, such as 13/1/2017 for day/month/year."""
    first, *others = (_parsed(day, one) for one in formats)
    if not others:
        return first, formats[0]
    second = others[0]
    only_first, only_second = (~np.isnat(a) & np.isnat(b) for a, b in ((first, second), (second, first)))
    if only_first.any() and only_second.any():
        examples = " and ".join(repr(day[only].iloc[0]) for only in (only_first, only_second))
        raise FormatError(f"column date: {examples} are not in one format; set `date_format` to {' or '.join(formats)}")
    if not only_first.any() and not only_second.any() and (first != second)[~np.isnat(first)].any():
        raise FormatError(
            f"column date: {day[~np.isnat(first)].iloc[0]!r} and all others fit {' and '.join(formats)}; set "
            "`date_format` to one of them"
        )
    return (second, formats[1]) if only_second.any() else (first, formats[0])


def _parsed(text: pd.Series, form: str) -> Days:
    """Parse texts, NaT where one does not fit."""
    unique = pd.Series(text.unique(), dtype="str")
    found = pd.to_datetime(unique, format=form, errors="coerce")
    if form.isalnum() or not re.search(r"%\w[^%]", form):
        # Without a separator, 1112022 may be the 1st or the 11th.
        found = found.where(unique.str.len() == len(pd.Timestamp(2022, 1, 1).strftime(form)))
    by_text = dict(zip(unique, found.to_numpy().astype("datetime64[D]"), strict=True))
    return np.array([by_text[one] for one in text], "datetime64[D]")


def _in_zone(found: Days, parts: pd.DataFrame, reading: PriceReading) -> Days:
    """Return the days in the exchange's time zone where a time has an offset; other days are as written."""
    time = parts["time"].str.upper().str.replace(" ", "")
    timed = time.notna().to_numpy() & ~np.isnat(found)
    if not timed.any():
        return found
    since = np.zeros(len(found), "int64")
    since[timed] = [_seconds(one) for one in time[timed]]
    offsets = parts["offset"].to_numpy()
    instants = timed & np.array([isinstance(one, str) and (bool(reading.timezone) or _is_utc(one)) for one in offsets])
    days_in_zone = found.copy()
    if instants.any():
        minutes = np.array([_offset(one) for one in offsets[instants]])
        moments = found[instants].astype("datetime64[s]") + since[instants] - 60 * minutes
        days_in_zone[instants] = _local(pd.Series(moments).dt.tz_localize("UTC"), reading)
    late = timed & (since >= _EVENING * 3600) & parts["offset"].isna().to_numpy()
    if reading.timezone is None:
        _check_evening((parts["day"] + " " + parts["time"])[late])
    return days_in_zone


def _seconds(time: str) -> int:
    """Return the seconds since midnight of `4:00PM` or `16:00:00.5`."""
    hours, minutes, *seconds = time.rstrip("APM").split(":")
    half = {"P": 12, "A": 0}.get(time[-2]) if time.endswith("M") else None
    hour = int(hours) if half is None else int(hours) % 12 + half
    return hour * 3600 + int(minutes) * 60 + int(float(seconds[0]) if seconds else 0)


def _offset(text: str) -> int:
    """Return minutes east of UTC of `-05:00`, `+0530` or `Z`."""
    if text[0] not in "+-":
        return 0
    digits = text[1:].replace(":", "")
    minutes = timedelta(hours=int(digits[:2]), minutes=int(digits[2:])) // timedelta(minutes=1)
    return -minutes if text[0] == "-" else minutes
