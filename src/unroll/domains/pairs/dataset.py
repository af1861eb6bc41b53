"""Sentences and their translations, read into one typed table.

Columns of the table: row_id int64 (0, 1, … in the order of the files), split string (the source's, or null), source
and target string (NFC, one blank between words).
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from unroll.domains.pairs.config import PairDataset
from unroll.domains.pairs.tables import SIDES, read_pairs
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
_SHOWN = 5
"""Faults that ingest.json lists."""
_TABLES = (".tsv", ".tab", ".csv", ".parquet", ".pq")
ENDINGS = (*_TABLES, ".txt")


def read_dataset(fetched: Sequence["Fetched"], section: PairDataset) -> Ingested:
    """Read all sources into one table.

    A folder, a file whose name is that of a table, or one whose first line has a tab has pairs (`tables.read_pairs`).
    Another one is a parallel file: it and a later source of the same split are the two sides, line by line.

    Pairs with an empty side are left out and counted.

    Raises:
        FormatError: A file is not a table of pairs, two parallel files have unequal lengths, or too many pairs have an
            empty side.
    """
    rows: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    records: list[dict[str, Any]] = []
    faults: list[str] = []
    total = 0
    waiting = list(fetched)
    while waiting:
        first = waiting.pop(0)
        found: list[tuple[str, int, str, str]]
        if _is_table(first.path, section.encoding):
            found, described = _read_tables(first, section)
            records.append({**first.record, "files": described})
        else:
            second = _other_side(first, waiting, section.encoding)
            waiting.remove(second)
            found, blank = _read_parallel(first, second, section.encoding)
            about = {"rows": sum(bool(source and target) for _, _, source, target in found), "blank_lines": blank}
            records += [{**one.record, "side": side, **about} for one, side in zip((first, second), SIDES, strict=True)]
        total += len(found)
        for path, line, source, target in found:
            if source and target:
                rows["source"].append(source)
                rows["target"].append(target)
                rows["split"].append(first.split)
            else:
                split = f" of {first.split}" if first.split else ""
                faults.append(f"{path}, line {line:,}{split}: the {'target' if source else 'source'} is empty")
    _refuse_many(faults, total, section)
    rows["row_id"] = list(range(len(rows["source"])))
    changes = {"left_out": len(faults), "left_out_first": faults[:_SHOWN]} if faults else {}
    notes = [f"pairs with an empty side left out: {len(faults):,} of {total:,}, first {faults[0]}"] if faults else []
    return Ingested(pa.table(rows, schema=SCHEMA), records, changes, notes)


def _refuse_many(faults: Sequence[str], total: int, section: PairDataset) -> None:
    if len(faults) > math.ceil(section.max_bad_share * total):
        raise FormatError(
            f"{len(faults):,} of {total:,} pairs have an empty side, more than max_bad_share {section.max_bad_share:g} "
            f"of the dataset allows; the first: {'; '.join(faults[:3])}"
        )


def _is_table(path: Path, encoding: str) -> bool:
    if path.is_dir() or path.name.lower().removesuffix(".gz").endswith(_TABLES):
        return True
    first = next((line for line in read_lines(path, encoding) if line.strip()), None)
    if first is None:
        raise FormatError(f"{path} is empty; expected sentence pairs")
    return "\t" in first


def _read_tables(
    source: "Fetched", section: PairDataset
) -> tuple[list[tuple[str, int, str, str]], list[dict[str, Any]]]:
    found, described = [], []
    for path in files_of(source.path, ENDINGS):
        pairs, columns = read_pairs(path, section)
        found += [(path.name, *pair) for pair in pairs]
        complete = sum(bool(source and target) for _, source, target in pairs)
        described.append({"file": path.name, "rows": complete, "columns": columns})
    return found, described


def _other_side(first: "Fetched", later: Sequence["Fetched"], encoding: str) -> "Fetched":
    """Return the file that is parallel to one: of the same split, called the same if there are several.

    Example:
        Beside train.en, of train.hi, other.en and other.hi it is train.hi.
    """
    candidates = [one for one in later if one.split == first.split and not _is_table(one.path, encoding)]
    stem, ending = _name(first)
    same = [one for one in candidates if _name(one)[0] == stem]
    if not candidates:
        raise FormatError(
            f"{first.path}: its first line has no tab, so it is one of two parallel files, and no other file of the "
            "same split comes after it; give two sources, source language first, or one table of source and target"
        )
    second = (same or candidates)[0]
    if _name(second)[1] == ending and ending not in ("", ".txt"):
        raise FormatError(
            f"{first.path} and {second.path} are not the two sides of one text: both end in {ending}; give the file of "
            "the other language after each file"
        )
    return second


def _name(source: "Fetched") -> tuple[str, str]:
    path = Path(source.path.name.removesuffix(".gz"))
    return path.stem, path.suffix


def _read_parallel(first: "Fetched", second: "Fetched", encoding: str) -> tuple[list[tuple[str, int, str, str]], int]:
    """Return the pairs of two files, and the number of lines that are blank in both."""
    sides = [[one_line(line) for line in read_lines(one.path, encoding)] for one in (first, second)]
    if len(sides[0]) != len(sides[1]):
        raise FormatError(
            f"parallel files of unequal length: {first.path} has {len(sides[0]):,} lines, {second.path} "
            f"{len(sides[1]):,}; line n of one has to translate line n of the other"
        )
    both = f"{first.path.name} and {second.path.name}"
    pairs = [
        (both, number, source, target)
        for number, (source, target) in enumerate(zip(*sides, strict=True), start=1)
        if source or target
    ]
    return pairs, len(sides[0]) - len(pairs)
