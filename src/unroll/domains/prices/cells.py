"""Columns of a price file, converted to dates, numbers, volumes and tickers.

Each function takes a pandas Series: text, or typed values of a Parquet file. Its index holds the numbers of the rows,
and the index's name is the word for a row in messages ("line" or "row"). A cell that cannot be converted raises a
FormatError with its row, column and value.
"""

import numpy as np
import pandas as pd

from unroll.errors import FormatError

_TIME = r"[ T][0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?( ?[AaPp][Mm])?( ?(Z|UTC|[+-][0-9]{2}:?[0-9]{2}))?$"
_ISO = r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
_SLASHED = r"[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}"
_NUMBER = r"[+-]?(([0-9]{1,3}(,[0-9]{3})+|[0-9]+)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?"
_EMPTY = ("", "null", "none", "nan", "n/a", "na", "-", "--")
_UNITS = {"k": 1e3, "m": 1e6, "b": 1e9}


def dates(cells: pd.Series) -> tuple[pd.Series, str]:
    """Convert a column of dates, with or without a time of day, all in one format.

    A single `13/1/2017` decides that the column is d/m/yyyy, a single `1/13/2017` that it is m/d/yyyy. Where all cells
    fit both, m/d/yyyy is assumed.

    Returns:
        The days as midnights, and the format: "iso", "m/d/yyyy", "d/m/yyyy", "m/d/yyyy (assumed: …)" or "typed".
    """
    if isinstance(cells.dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_dtype(cells):
        _check(cells.notna(), cells, "a date")
        return cells.dt.tz_localize(None).dt.normalize(), "typed"
    text = _text(cells, "a date")
    day = text.str.replace(_TIME, "", regex=True)
    is_iso = day.str.fullmatch(_ISO)
    if is_iso.iloc[0]:
        _check(is_iso, cells, f"a date in the format of the first row ({text.iloc[0]})")
        found = _days(day, "%Y-%m-%d")
        _check(found.notna(), cells, "a day of the calendar")
        return found, "iso"
    slashed = day.str.fullmatch(_SLASHED)
    _check(slashed.iloc[:1], cells, "a date such as 2017-01-31 or 1/31/2017")
    _check(slashed, cells, f"a date in the format of the first row ({text.iloc[0]})")
    month_first = _days(day, "%m/%d/%Y")
    day_first = _days(day, "%d/%m/%Y")
    _check(month_first.notna() | day_first.notna(), cells, "a day of the calendar")
    if month_first.notna().all():
        assumed = bool(day_first.notna().all())
        return month_first, "m/d/yyyy" + " (assumed: d/m/yyyy fits every row, too)" * assumed
    other = text.index[month_first.isna()][0]
    _check(day_first.notna(), cells, f"a date in the format d/m/yyyy of {text[other]!r} ({cells.index.name} {other})")
    return day_first, "d/m/yyyy"


def _days(text: pd.Series, form: str) -> pd.Series:
    """Convert days of a format; NaT for invalid ones, including the year 0, which pandas knows but Python does not."""
    days = pd.to_datetime(text, format=form, errors="coerce")
    return days.where(days >= pd.Timestamp("0001-01-01"))


def numbers(cells: pd.Series, *, optional: bool = False) -> pd.Series:
    """Convert a column of finite numbers, such as `1,234.50`, `$12.3` or `7e-3`, to float64.

    Args:
        cells: The column.
        optional: Keep nulls of a typed column. Text is never null: an empty cell is an error.
    """
    if pd.api.types.is_numeric_dtype(cells):
        found = cells.astype("float64")
        _check((found.abs() < np.inf) | (found.isna() & optional), cells, "a number")
        return found
    text = _text(cells, "a number")
    _check(~text.str.lower().isin(_EMPTY), cells, "a number; remove the row if it has no data")
    found = _parsed(text.str.replace(r"^\$\s*", "", regex=True), cells, "a number such as 1234.5 or 1,234.5")
    _check(found.abs() < np.inf, cells, "a finite number")
    return found


def volumes(cells: pd.Series) -> pd.Series:
    """Convert a column of shares traded, such as `3433700`, `3,433,700` or `3.4M`, to Int64; empty cells to null."""
    if pd.api.types.is_numeric_dtype(cells):
        found = cells.dropna().astype("float64")
    else:
        text = _text(cells, "a number of shares", optional=True).str.lower()
        text = text[~text.isin(_EMPTY)]
        unit = text.str[-1:].map(_UNITS).astype("float64")
        plain = text.where(unit.isna(), text.str[:-1])
        found = _parsed(plain, cells, "a number of shares such as 3433700 or 3.4M") * unit.fillna(1.0)
    whole = found.round()
    near = (found - whole).abs() <= 1e-6 * found.abs().clip(lower=1)
    _check(near & (found.abs() < 2**63), cells, "a whole number of shares")
    return whole.astype("Int64").reindex(cells.index)


def tickers(cells: pd.Series) -> pd.Series:
    """Return a column of tickers, stripped; none may be empty."""
    return _text(cells, "a ticker")


def _text(cells: pd.Series, expected: str, *, optional: bool = False) -> pd.Series:
    """Return stripped text, "" for nulls; unless `optional`, none may be empty."""
    is_text = pd.api.types.is_string_dtype(cells) or cells.isna().all()
    _check(pd.Series(is_text, cells.index), cells, f"{expected} as text")
    text = cells.astype("str").str.strip().fillna("")
    _check((text != "") | optional, cells, f"{expected}; remove the row if it has no data")
    return text


def _parsed(text: pd.Series, cells: pd.Series, expected: str) -> pd.Series:
    _check(text.str.fullmatch(_NUMBER), cells, expected)
    # Unlike `pandas.to_numeric`, Python's own conversion rounds to the nearest float64.
    return text.str.replace(",", "").astype("float64")


def _check(valid: pd.Series, cells: pd.Series, expected: str) -> None:
    """Raise for the first cell that is not valid."""
    if not valid.all():
        index = valid.index[~valid][0]
        value = cells[index]
        found = f"found {value!r}" if isinstance(value, str) else f"found {value}"
        found = "the cell is empty" if pd.isna(value) or value == "" else found
        raise FormatError(f"{cells.index.name} {index}, column {cells.name}: {found}, expected {expected}")
