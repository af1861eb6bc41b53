"""Cells of a price file, one column at a time: dates, numbers, volumes, names.

Each function takes a whole column and raises `CellError` with the index of the first cell that does not fit.
"""

import math
import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

_TIME = r"(?:[ T]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?[AaPp][Mm])?(?: ?(?:Z|UTC|[+-]\d{2}:?\d{2}))?)?"
_ISO = re.compile(rf"(\d{{4}})-(\d{{1,2}})-(\d{{1,2}}){_TIME}")
_SLASHED = re.compile(rf"(\d{{1,2}})/(\d{{1,2}})/(\d{{4}}){_TIME}")
_NUMBER = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d*)?(?:[eE][+-]?\d+)?")
_EMPTY = frozenset({"", "null", "none", "nan", "n/a", "na", "-", "--"})
_UNITS = {"k": 1_000, "m": 1_000_000, "b": 1_000_000_000}


class CellError(Exception):
    """A cell that is not what its column says."""

    def __init__(self, index: int, message: str) -> None:
        """Of the cell at `index` of its column, counted from 0."""
        super().__init__(message)
        self.index = index
        self.message = message


def dates(cells: Sequence[Any]) -> tuple[list[date], str]:
    """Reads a column of dates, all of one form.

    Worked example: `13/1/2017` in any row settles d/m/yyyy, `1/13/2017` m/d/yyyy; with neither, and no row that
    speaks against it, m/d/yyyy is assumed.

    Returns:
        The dates, and the form: "iso", "m/d/yyyy", "d/m/yyyy", "m/d/yyyy (assumed: …)" or "typed" (Parquet).

    Raises:
        CellError: A cell is no date, or of another form than the first.
    """
    if not any(isinstance(cell, str) for cell in cells):
        return [_typed_date(cell, index) for index, cell in enumerate(cells)], "typed"
    texts = [_text(cell, index, "a date") for index, cell in enumerate(cells)]
    iso = _ISO.fullmatch(texts[0]) is not None
    pattern = _ISO if iso else _SLASHED
    parts: list[tuple[int, int, int]] = []
    for index, text in enumerate(texts):
        match = pattern.fullmatch(text)
        if match is None:
            wanted = "a date such as 2017-01-31 or 1/31/2017"
            if index:
                wanted += f", in the form of the first row ({texts[0]})"
            raise CellError(index, f"found {text!r}, expected {wanted}")
        a, b, c = match.groups()
        parts.append((int(a), int(b), int(c)))
    if iso:
        return [_date(y, m, d, index, texts[index]) for index, (y, m, d) in enumerate(parts)], "iso"
    late_first = next((index for index, (a, _, _) in enumerate(parts) if a > 12), None)
    late_second = next((index for index, (_, b, _) in enumerate(parts) if b > 12), None)
    if late_first is not None and late_second is not None:
        index, other = max(late_first, late_second), min(late_first, late_second)
        raise CellError(
            index,
            f"found {texts[index]!r}, which does not go with {texts[other]!r} further up: "
            "one fits m/d/yyyy alone, the other d/m/yyyy alone",
        )
    if late_first is not None:
        return [_date(y, m, d, index, texts[index]) for index, (d, m, y) in enumerate(parts)], "d/m/yyyy"
    form = "m/d/yyyy" if late_second is not None else "m/d/yyyy (assumed: d/m/yyyy fits every row, too)"
    return [_date(y, m, d, index, texts[index]) for index, (m, d, y) in enumerate(parts)], form


def numbers(cells: Sequence[Any]) -> list[float]:
    """Reads a column of prices: `1,234.50`, `$12.3`, `7e-3`; every cell has to hold a finite number."""
    return [_number(cell, index) for index, cell in enumerate(cells)]


def optional_numbers(cells: Sequence[Any]) -> list[float | None]:
    """Reads a column of numbers in which a typed null (Parquet's) stays one; text has to be a number."""
    return [None if cell is None else _number(cell, index) for index, cell in enumerate(cells)]


def volumes(cells: Sequence[Any]) -> list[int | None]:
    """Reads a column of volumes in shares: `3433700`, `3,433,700`, `3.4M`; an empty cell becomes None."""
    return [_volume(cell, index) for index, cell in enumerate(cells)]


def names(cells: Sequence[Any]) -> list[str]:
    """Reads a column of tickers; none may be empty."""
    return [_text(cell, index, "a ticker") for index, cell in enumerate(cells)]


def _text(cell: Any, index: int, wanted: str) -> str:
    text = cell.strip() if isinstance(cell, str) else cell
    if text is None or text == "":
        raise CellError(index, f"the cell is empty, {wanted} was expected; remove the row if it has no data")
    if not isinstance(text, str):
        raise CellError(index, f"found {text!r}, expected {wanted} as text, as in the other rows")
    return text


def _typed_date(cell: Any, index: int) -> date:
    # A datetime is a date, too: it has to be asked first.
    if isinstance(cell, datetime):
        return cell.date()
    if isinstance(cell, date):
        return cell
    raise CellError(index, f"found {cell!r}, expected a date")


def _date(year: int, month: int, day: int, index: int, text: str) -> date:
    try:
        return date(year, month, day)
    except ValueError as error:
        raise CellError(index, f"found {text!r}, which is no date: {error}") from None


def _number(cell: Any, index: int) -> float:
    if isinstance(cell, str):
        plain = cell.strip()
        if plain.lower() in _EMPTY:
            found = f"found {cell!r}" if plain else "the cell is empty"
            raise CellError(index, f"{found}, a number was expected; remove the row if it has no data")
        if plain[:1] == "$":
            plain = plain[1:].lstrip()
        if not any(letter.isdigit() for letter in plain) or _NUMBER.fullmatch(plain) is None:
            raise CellError(index, f"found {cell!r}, expected a number such as 1234.5 or 1,234.5")
        value = float(plain.replace(",", ""))
    elif cell is None:
        raise CellError(index, "the cell is empty, a number was expected; remove the row if it has no data")
    else:
        try:
            value = float(cell)
        except (TypeError, ValueError):
            raise CellError(index, f"found {cell!r}, expected a number") from None
    if not math.isfinite(value):
        raise CellError(index, f"found {cell!r}, expected a finite number")
    return value


def _volume(cell: Any, index: int) -> int | None:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if not isinstance(cell, str):
        value = _number(cell, index)
    else:
        plain = cell.strip().lower()
        if plain in _EMPTY:
            return None
        unit = _UNITS.get(plain[-1], 1)
        try:
            value = _number(plain[:-1] if unit > 1 else plain, index) * unit
        except CellError:
            raise CellError(index, f"found {cell!r}, expected a number of shares such as 3433700 or 3.4M") from None
    if abs(value - round(value)) > 1e-6 * max(1.0, abs(value)) or abs(value) >= 2**63:
        raise CellError(index, f"found {cell!r}, expected a whole number of shares")
    return round(value)
