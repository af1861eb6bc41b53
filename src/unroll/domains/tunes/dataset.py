"""Tunes of one voice: ABC files read into one typed table.

Columns of the table: row_id int64 (0, 1, … in the order of the files), split string (the source's, or null), file,
title, key (`D`), mode (`major`), meter (`6/8`) string, notes string (tokens of `unroll.domains.tunes.abc_notation`,
separated by blanks).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from unroll.config import MelodyDataset
from unroll.domains.tunes import abc_notation
from unroll.domains.tunes.abc_fields import TuneError
from unroll.errors import FormatError
from unroll.features import text_files

if TYPE_CHECKING:
    from unroll.sources.fetch import Fetched

SCHEMA = pa.schema(
    [
        ("row_id", pa.int64()),
        ("split", pa.string()),
        *((name, pa.string()) for name in ("file", "title", "key", "mode", "meter", "notes")),
    ]
)


def read_sources(fetched: Sequence["Fetched"], section: MelodyDataset) -> tuple[pa.Table, list[dict[str, Any]]]:
    """Reads every tune of every file of every source into one table.

    A tune that cannot be parsed is left out; the record names each, and why.

    Raises:
        FormatError: A file has no tune, a tune has no notes, or not one tune could be parsed.
    """
    del section
    rows: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    for source in fetched:
        before = len(rows)
        paths = text_files.files_of(source.path, (".abc",))
        left_out: list[dict[str, str]] = []
        rounded = 0
        for path in paths:
            tunes, faults = read_tunes(path)
            left_out += faults
            rounded += sum(tune.rounded for tune in tunes)
            rows += [
                {
                    "row_id": len(rows) + place,
                    "split": source.split,
                    "file": path.name,
                    "title": text_files.normal(tune.title),
                    "key": tune.key,
                    "mode": tune.mode,
                    "meter": tune.meter,
                    "notes": " ".join(tune.tokens),
                }
                for place, tune in enumerate(tunes)
            ]
        about = {"files": len(paths), "rows": len(rows) - before, "left_out": left_out, "rounded_lengths": rounded}
        records.append({**source.record, **about})
    if not rows:
        first = next(one for record in records for one in record["left_out"])
        raise FormatError(f"no tune could be parsed; the first, {first['file']} X:{first['tune']}: {first['why']}")
    return pa.Table.from_pylist(rows, schema=SCHEMA), records


def read_tunes(path: Path) -> tuple[list[abc_notation.Tune], list[dict[str, str]]]:
    """Tunes of an ABC file, and those that could not be parsed: file, tune, why.

    Raises:
        FormatError: The file has no tune, or a tune has no notes.
    """
    found = abc_notation.split_tunes(text_files.read_lines(path))
    if not found:
        raise FormatError(f"{path} has no tune: none of its lines begins with X:, as every tune in ABC notation does")
    tunes: list[abc_notation.Tune] = []
    left_out: list[dict[str, str]] = []
    for lines in found:
        number = lines[0].removeprefix("X:").strip()
        try:
            tune = abc_notation.parse_tune(lines)
        except TuneError as error:
            left_out.append({"file": path.name, "tune": number, "why": str(error)})
            continue
        if not tune.notes:
            raise FormatError(f"{path}, tune X:{number}: it has no notes; remove it, nothing can be learned from it")
        tunes.append(tune)
    return tunes, left_out
