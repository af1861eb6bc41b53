"""What form a file has, told by its first bytes, and for text by its name."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from unroll.domains.digits import idx
from unroll.errors import FormatError
from unroll.sources.packed import open_plain

Form = Literal["parquet", "csv", "tsv", "jsonl", "txt", "idx"]
NAMES: Mapping[Form, str] = {
    "parquet": "Parquet",
    "csv": "CSV",
    "tsv": "TSV",
    "jsonl": "JSONL",
    "txt": "plain text",
    "idx": "IDX",
}
"""As messages have them."""
_ENDINGS: Mapping[str, Form] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".txt": "txt",
}


def form_of(path: Path) -> Form:
    """Tells a file's form.

    Raises:
        FormatError: It is none that can be scored.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    with open_plain(path) as file:
        start = idx.read_plain(file, 4, path)
    if start == b"PAR1":
        return "parquet"
    if suffixes[-1:] in ([".parquet"], [".pq"]):
        raise FormatError(f"{path} is no Parquet: it starts with {start!r}, expected b'PAR1'; write the file again")
    if idx.is_idx(start):
        return "idx"
    ending = next((one for one in reversed(suffixes[-2:]) if one != ".gz"), "")
    if ending in _ENDINGS:
        return _ENDINGS[ending]
    raise FormatError(
        f"{path} starts with {start!r}: no Parquet, no IDX, and its name ends in none of {', '.join(_ENDINGS)} "
        "(or these with .gz); write it in one of these forms"
    )


def stem_of(name: str) -> str:
    """A file's name without its ending: `BRK.B` for BRK.B.csv, `digits` for digits.csv.gz."""
    return Path(as_text(name).removesuffix(".gz")).stem


def as_text(text: str) -> str:
    """A file's name, or a message with it, as proper text: bytes that are no UTF-8 become `\\xNN`."""
    return os.fsencode(text).decode("utf-8", errors="backslashreplace")
