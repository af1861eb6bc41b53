"""Sentences and their translations, read into one typed table.

Columns of the table: row_id int64 (0, 1, … in the order of the files), split string (the source's, or null), source
and target string (NFC, one blank between words).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from unroll.domains.pairs.config import PairDataset
from unroll.errors import FormatError
from unroll.features.text_files import files_of, one_line, read_lines
from unroll.sources.ingested import Ingested

if TYPE_CHECKING:
    from unroll.sources.fetch import Fetched

SCHEMA = pa.schema(
    [
        ("row_id", pa.int64()),
        ("split", pa.string()),
        ("source", pa.string()),
        ("target", pa.string()),
    ]
)
SIDES = ("source", "target")

_ENDINGS = (".tsv", ".txt")

Pairs = list[tuple[str, str]]


def read_dataset(fetched: Sequence["Fetched"], section: PairDataset) -> Ingested:
    """Read all sources into one table.

    A source whose first line has a tab has pairs: source, tab, target, and further columns that are left out. One
    without a tab is a parallel file: it and the source after it are the two sides, line by line.

    Raises:
        FormatError: A line has no tab, two parallel files have unequal lengths, or a side is empty; the message has
            the file and line.
    """
    del section
    rows: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    records: list[dict[str, Any]] = []
    waiting = list(fetched)
    while waiting:
        first = waiting.pop(0)
        if first.path.is_dir() or _has_tab(first.path):
            found, described = _read_tabbed(first)
            records.append({**first.record, "files": described})
        else:
            second = waiting.pop(0) if waiting else None
            found, blank = _read_parallel(first, second)
            about = {"rows": len(found), "blank_lines": blank}
            records += [
                {**one.record, "side": side, **about} for one, side in zip((first, second), SIDES, strict=True) if one
            ]
        rows["source"] += [source for source, _ in found]
        rows["target"] += [target for _, target in found]
        rows["split"] += [first.split] * len(found)
    rows["row_id"] = list(range(len(rows["source"])))
    return Ingested(pa.table(rows, schema=SCHEMA), records)


def _has_tab(path: Path) -> bool:
    first = next((line for line in read_lines(path) if line.strip()), None)
    if first is None:
        raise FormatError(f"{path} is empty; expected sentence pairs")
    return "\t" in first


def _read_tabbed(source: "Fetched") -> tuple[Pairs, list[dict[str, Any]]]:
    pairs: Pairs = []
    described: list[dict[str, Any]] = []
    for path in files_of(source.path, _ENDINGS):
        before = len(pairs)
        columns = 0
        for number, line in enumerate(read_lines(path), start=1):
            if not line.strip():
                continue
            cells = line.split("\t")
            if len(cells) < 2:
                raise FormatError(
                    f"{path}, line {number:,}: no tab between two sentences, found {line.strip()[:60]!r}; "
                    "expected: source, tab, target"
                )
            columns = max(columns, len(cells))
            pairs.append(_pair(cells[0], cells[1], str(path), number))
        described.append({"file": path.name, "rows": len(pairs) - before, "columns": columns})
    return pairs, described


def _read_parallel(first: "Fetched", second: "Fetched | None") -> tuple[Pairs, int]:
    """Return the pairs of two files, and the number of lines that are blank in both."""
    if second is None or second.path.is_dir() or second.split != first.split:
        raise FormatError(
            f"{first.path}: its first line has no tab, so it is one of two parallel files, and no other file of the "
            "same split comes after it; give two sources, source language first, or one file of source, tab, target"
        )
    sides = [read_lines(one.path) for one in (first, second)]
    if len(sides[0]) != len(sides[1]):
        raise FormatError(
            f"parallel files of unequal length: {first.path} has {len(sides[0]):,} lines, {second.path} "
            f"{len(sides[1]):,}; line n of one has to translate line n of the other"
        )
    both = f"{first.path} and {second.path}"
    pairs = [
        _pair(source, target, both, number)
        for number, (source, target) in enumerate(zip(*sides, strict=True), start=1)
        if source.strip() or target.strip()
    ]
    return pairs, len(sides[0]) - len(pairs)


def _pair(source: str, target: str, where: str, number: int) -> tuple[str, str]:
    pair = (one_line(source), one_line(target))
    for side, text in zip(SIDES, pair, strict=True):
        if not text:
            raise FormatError(f"{where}, line {number:,}: the {side} is empty; remove the pair")
    return pair
