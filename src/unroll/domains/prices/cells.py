"""Columns of a price file, converted to numbers and tickers.

Each function takes a pandas Series with an index from 0: text, or typed values of a Parquet file. Cells that cannot be
converted are empty in the result, and their rows are added to the `Faults`.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unroll.domains.prices.config import PriceReading
from unroll.errors import FormatError

_EMPTY = ("", "null", "none", "nan", "nat", "<na>", "n/a", "na", "#n/a", "-", "--", ".")
_UNITS = {"k": "e3", "m": "e6", "b": "e9", "t": "e12"}
_CURRENCY = r"^([+-]?)\s*(?:[$€£¥₹]|USD|EUR)\s*|\s*(?:[$€£¥₹]|USD|EUR)$"
_BLANKS = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "’": "'"})
FEW = 0.05
"""Share of the cells that may contradict how the others are written; they cannot be read, and are set aside."""
_TICKER = 100
"""Most characters of a ticker's name."""
_EXACT = 2**53
"""float64 represents every whole number up to this one exactly."""


class Faults:
    """Why rows of a file cannot be used, by position: the first reason of each."""

    def __init__(self) -> None:
        self.reasons: dict[int, str] = {}

    def add(self, row: int, reason: str) -> None:
        """Add a row, unless it is there already."""
        self.reasons.setdefault(row, reason)


class Style:
    """How a file writes numbers.

    Args:
        decimal: The decimal separator.
        thousands: All separators that may stand between thousands.
    """

    def __init__(self, decimal: str, thousands: str) -> None:
        self.thousands, self.decimal = f"[{re.escape(thousands)}]", decimal
        point, many = re.escape(decimal), self.thousands
        # Groups of two digits before the last three: lakh and crore.
        whole = rf"[1-9]\d{{0,2}}(?:{many}\d{{3}})+|[1-9]\d?(?:{many}\d{{2}})+{many}\d{{3}}|\d+"
        self.number = rf"[+-]?(?:(?:{whole})(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?"

    def parse(self, text: pd.Series) -> pd.Series:
        """Return float64, NaN where a text is not a number."""
        # Most numbers are plain, and the whole pattern is slow.
        fits = text.str.fullmatch(rf"[+-]?\d+(?:{re.escape(self.decimal)}\d*)?")
        plain = text[fits]
        others = text[~fits]
        others = others[others.str.fullmatch(self.number)]
        if len(others):
            plain = pd.concat([plain, others.str.replace(self.thousands, "", regex=True)])
        if self.decimal != ".":
            plain = plain.str.replace(self.decimal, ".", regex=False)
        # Unlike `pandas.to_numeric`, Python's own conversion rounds to the nearest float64.
        return plain.astype("float64").reindex(text.index)


def style_of(columns: Sequence[pd.Series], separator: str, reading: PriceReading) -> Style:
    """Decide how a file writes numbers, from all of its cells.

    `1.234,5`, `12,34` and `1.234.567` decide it. If no cell does, `.` is the decimal separator, except in a file of
    cells between semicolons, where whole numbers without any separator, such as 8412021, show that thousands have none.

    Args:
        columns: Columns of numbers; those that are not text are ignored.
        separator: What is between cells.
        reading: `decimal` and `thousands` decide what the file does not.

    Raises:
        FormatError: `12,345` may be 12345 or 12.345.
    """
    decimal = reading.decimal or {",": ".", ".": ","}.get(reading.thousands or "")
    if decimal is None:
        decimal = _decimal_of([one for one in columns if pd.api.types.is_string_dtype(one)], separator)
    return Style(decimal, reading.thousands or ".,".replace(decimal, "") + " '")


def _decimal_of(columns: Sequence[pd.Series], separator: str) -> str:
    if not columns:
        return "."
    text = pd.concat([_plain(one) for one in columns])
    text = text.str.replace(r"[kmbt]$|e[+-]?\d+$", "", regex=True).str.lstrip("+-")
    text = text[text.str.fullmatch(r"[\d., ']*\d[\d., ']*")]
    # Cells of one shape decide alike: digits are 9, but for a zero in front, as in 0,123.
    shapes = text.str.replace(r"^0", "z", regex=True).str.replace(r"\d", "9", regex=True)
    counts: Counter[str] = Counter()
    for shape, count in shapes.value_counts().items():
        counts[_evidence(str(shape))] += int(count)
    if counts["."] or counts[","]:
        least, decimal = min(((counts[one], other) for one, other in (".,", ",.")))
        if least > FEW * (counts["."] + counts[","]):
            examples = " and ".join(repr(text[shapes.map(_evidence) == one].iloc[0]) for one in ".,")
            raise FormatError(f"{examples} have different decimal separators; set `decimal`")
        return decimal
    semicolons = separator == ";"
    if counts["?,"] and not counts["?."] and semicolons and counts["whole"]:
        return ","
    if counts["?,"] or (counts["?."] and semicolons and not counts["whole"]):
        example = text[shapes.map(_evidence) == ("?," if counts["?,"] else "?.")].iloc[0]
        one, other = example.replace(",", "").replace(".", ""), example.replace(",", ".")
        raise FormatError(f"{example!r} may be {one} or {other}, and no cell decides it; set `decimal`")
    return "."


def _evidence(shape: str) -> str:
    """Return the decimal separator of a number, `?.` or `?,` where `.` or `,` may be either, or `whole` of 4 digits."""
    marks = [one for one in shape if one in ".,"]
    if not marks:
        return "whole" if len(shape) > 3 and shape.isdigit() else ""
    last = marks[-1]
    if len(set(marks)) == 2:
        return last if marks.count(last) == 1 else ""
    if len(marks) > 1:
        return ".,".replace(last, "")
    before, _, after = shape.partition(last)
    return f"?{last}" if before in ("9", "99", "999") and after == "999" else last


def numbers(
    cells: pd.Series, style: Style, faults: Faults, *, optional: bool = False, units: bool = False
) -> NDArray[np.float64]:
    """Convert a column of finite numbers, such as `1,234.50`, `$12.3` or `7e-3`, to float64.

    Args:
        cells: The column.
        style: How the file writes numbers.
        faults: Rows whose cell is no number are added, and unless `optional` those whose cell is empty.
        optional: Whether cells may be empty.
        units: Whether a suffix such as `M` in `3.4M` is part of a number.
    """
    if pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells):
        found = cells.to_numpy(dtype="float64", na_value=np.nan)
        empty, valid = np.isnan(found), np.isfinite(found)
        if pd.api.types.is_integer_dtype(cells):
            valid &= np.abs(found) <= _EXACT
    else:
        text = _plain(text_of(cells, "a number"))
        empty = text.isin(_EMPTY).to_numpy()
        if units:
            text = _without_units(text)
        found = style.parse(text).to_numpy()
        valid = np.isfinite(found)
    for row in np.flatnonzero(~valid & ~(empty & optional)).tolist():
        faults.add(row, f"column {cells.name}: {shown(cells.iloc[row])}, expected a number")
    return np.where(valid, found, np.nan)


def _without_units(text: pd.Series) -> pd.Series:
    """Write `3.4m` as `3.4e6`, which rounds once."""
    found = text.str.contains(r"[0-9.,] *[kmbt]$")
    written = [f"{one[:-1].rstrip()}{_UNITS[one[-1]]}" for one in text[found]]
    return text.where(~found, pd.Series(written, text.index[found], dtype="str")) if written else text


def tickers(cells: pd.Series, faults: Faults) -> list[str]:
    """Return a column of tickers as text, without blanks around them: `600519` for the number."""
    if pd.api.types.is_float_dtype(cells) and (cells.dropna() % 1 == 0).all():
        cells = cells.astype("Int64")
    text = cells.astype("str").str.strip().fillna("").where(cells.notna(), "")
    for row in np.flatnonzero((text == "").to_numpy() | (text.str.len() > _TICKER).to_numpy()).tolist():
        faults.add(
            row, f"column {cells.name}: {shown(cells.iloc[row])}, expected a ticker of at most {_TICKER} characters"
        )
    found: list[str] = text.tolist()
    return found


def text_of(cells: pd.Series, expected: str) -> pd.Series:
    """Return stripped text, "" for nulls."""
    if not (pd.api.types.is_string_dtype(cells) or cells.isna().all()):
        raise FormatError(
            f"column {cells.name} has values such as {shown(cells.dropna().iloc[0])}, expected {expected}"
        )
    return cells.astype("str").str.strip().fillna("").where(cells.notna(), "")


def shown(value: Any) -> str:
    """Return what was found in a cell, for a message."""
    if pd.isna(value) or value == "":
        return "the cell is empty"
    return f"found {value[:60]!r}" if isinstance(value, str) else f"found {value}"


def _plain(text: pd.Series) -> pd.Series:
    """Return texts in lower case, without currencies, with plain blanks and apostrophes."""
    odd = ~text.str.fullmatch(r"[+-]?[0-9.,]*")
    if not odd.any():
        return text
    others = text[odd].str.strip().str.translate(_BLANKS).str.replace(_CURRENCY, r"\1", regex=True).str.lower()
    return text.where(~odd, others)
