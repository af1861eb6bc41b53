"""Titles of the columns of a price file, as finance sites and tools write them."""

import ast
import re
from collections.abc import Mapping, Sequence

from unroll.domains.prices.config import FileColumn
from unroll.errors import FormatError

FIELDS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "date": (
        ("date",),
        ("datetime", "timestamp", "time", "open time", "trade date", "traddt", "unix", "t"),
        ("index", ""),
    ),
    "ticker": (("ticker",), ("symbol", "tckrsymb", "instrument", "code")),
    "open": (("open",), ("opnpric", "open price", "o")),
    "high": (("high",), ("hghpric", "high price", "h")),
    "low": (("low",), ("lwpric", "low price", "l")),
    "close": (("close",), ("close/last", "last", "price", "clspric", "close price", "c")),
    "adj_close": (("adj close",), ("adjusted close", "adjclose", "close adj")),
    "volume": (("volume",), ("vol", "tottrdqty", "total traded quantity", "ttltradgvol", "v")),
}
"""Our columns, each with groups of titles that mean it: a group counts where no title of those before it is there."""
_NUMBERED = re.compile(r"^\d+[a-z]?\. ")
_LEVELS = ("ticker", "tickers", "symbol", "symbols", "price", "attributes")
"""Names that yfinance and pandas give to a row of the header, in the column of the dates."""
_SHOWN = 12

Places = dict[str, int]
"""Position of each of our columns."""


def plain(title: str) -> str:
    """Return a title without case, `<…>`, `_`, `.`, `*` and a number in front: `adj close` for `5. Adj_Close*`."""
    title = _NUMBERED.sub("", title.strip().lower().removeprefix("<").removesuffix(">"))
    title = " ".join(title.replace("_", " ").replace(".", " ").replace("*", " ").split())
    # What pandas calls an index without a name.
    return {"unnamed: 0": "", "index level 0": "index"}.get(title, title)


def find_columns(titles: Sequence[str], chosen: Mapping[FileColumn, str], required: Sequence[str]) -> Places:
    """Return the position of each of our columns that is there.

    Args:
        titles: Titles in the file.
        chosen: Titles of some of our columns; they win.
        required: Our columns that have to be there.

    Raises:
        FormatError: A column is missing, or two titles mean the same one.
    """
    found = _chosen(titles, chosen)
    free = {place: plain(title) for place, title in enumerate(titles) if place not in found.values()}
    # Only the first column can be an index without a title.
    free = {place: title for place, title in free.items() if title or not place}
    for name, groups in FIELDS.items():
        # An exact title wins over others, so that `Price` beside `Close` is just another column.
        for group in groups if name not in found else ():
            places = [place for place, title in free.items() if title in group]
            if len(places) > 1:
                both = " and ".join(repr(titles[place]) for place in places)
                raise FormatError(f"{both} may all be the column {name}; set `columns: {{{name}: …}}`")
            if places:
                found[name] = places[0]
                break
    missing = [name for name in required if name not in found]
    if missing:
        shown = ", ".join(title.strip() or "''" for title in titles[:_SHOWN])[:300] + ", …" * (len(titles) > _SHOWN)
        raise FormatError(
            f"missing column {', '.join(missing)}; the header has: {shown}; `columns` says which is which, and "
            "`column_names` names those of a file without a header"
        )
    return found


def _chosen(titles: Sequence[str], chosen: Mapping[FileColumn, str]) -> Places:
    found: Places = {}
    for name, title in chosen.items():
        places = [place for place, one in enumerate(titles) if one.strip().lower() == title.strip().lower()]
        if len(places) != 1:
            raise FormatError(f"{len(places)} columns are called {title!r}, which `columns` says is the column {name}")
        found[name] = places[0]
    return found


def header_rows(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return how many rows below the first one belong to the header: `Ticker,ACME,BOLT`, and `Date,,`."""
    count = 0
    if rows and len(titles) > 1:
        first, *rest = (cell.strip() for cell in rows[0])
        if first.lower() in _LEVELS or (not first and any(re.search("[A-Za-z]", cell) for cell in rest)):
            count = 1
    if count and len(rows) > 1:
        first, *rest = (cell.strip() for cell in rows[1])
        count += bool(re.search("[A-Za-z]", first)) and not any(rest)
    return count


def split_titles(titles: Sequence[str]) -> tuple[Sequence[str], Sequence[str]] | None:
    """Return the two levels of a pandas header that was made text, `('Close', 'ACME')`; None if it is none."""
    pairs = [_pair(title) for title in titles]
    if not any(pairs):
        return None
    both = [pair or (title, "") for pair, title in zip(pairs, titles, strict=True)]
    return [one for one, _ in both], [other for _, other in both]


def _pair(title: str) -> tuple[str, str] | None:
    if not title.startswith("('"):
        return None
    try:
        pair = ast.literal_eval(title)
    except (ValueError, SyntaxError):
        return None
    return pair if isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(one, str) for one in pair) else None


def place_of_dates(upper: Sequence[str], lower: Sequence[str]) -> int:
    """Return the position of the dates in a header of two levels."""
    for place, levels in enumerate(zip(upper, lower, strict=True)):
        names = [plain(one) for one in levels]
        if not any(names) or any(name and name in group for name in names for group in FIELDS["date"]):
            return place
    raise FormatError(f"missing column date; the header has: {', '.join(upper[:_SHOWN])}, each with a ticker")


def by_ticker(upper: Sequence[str], lower: Sequence[str], dates: int) -> dict[str, dict[int, str]]:
    """Sort the columns of a header of two levels, one of which has the tickers.

    Returns:
        For each ticker the titles of its columns, by position; without the dates.
    """
    known = {title for groups in FIELDS.values() for group in groups for title in group if title}
    counts = [sum(plain(one) in known for one in level) for level in (upper, lower)]
    found: dict[str, dict[int, str]] = {}
    joined = ""
    for place, (above, below) in enumerate(zip(upper, lower, strict=True)):
        if place == dates:
            continue
        # A spreadsheet writes the title of joined cells once.
        joined = above.strip() or joined
        field, ticker = (joined, below.strip()) if counts[0] >= counts[1] else (below, joined)
        found.setdefault(ticker, {})[place] = field
    return found
