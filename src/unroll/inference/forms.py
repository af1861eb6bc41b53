"""The form of a file: by its first bytes, and for text by its name."""

import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

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
    """Return a file's form.

    Raises:
        FormatError: It is in no form that can be scored.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    try:
        with open_plain(path) as file:
            start = file.read(4)
    except (EOFError, OSError, zlib.error) as error:
        raise FormatError(f"{path} is a truncated or damaged gzip file ({error}): fetch it again") from None
    if start == b"PAR1":
        return "parquet"
    if suffixes[-1:] in ([".parquet"], [".pq"]):
        raise FormatError(f"{path} is not Parquet: it starts with {start!r}, expected b'PAR1'; write the file again")
    if start[:2] == b"\0\0":
        return "idx"
    ending = next((one for one in reversed(suffixes[-2:]) if one != ".gz"), "")
    if ending in _ENDINGS:
        return _ENDINGS[ending]
    raise FormatError(
        f"{path} starts with {start!r}: it is neither Parquet nor IDX, and its name ends in none of "
        f"{', '.join(_ENDINGS)} (or these with .gz); write it in one of these forms"
    )


def stem_of(name: str) -> str:
    """Return a file's name without its ending: `BRK.B` for BRK.B.csv, `digits` for digits.csv.gz."""
    return Path(as_text(name).removesuffix(".gz")).stem


def as_text(text: str) -> str:
    """Return a file's name as proper text: bytes that are not UTF-8 become `\\xNN`."""
    return os.fsencode(text).decode("utf-8", errors="backslashreplace")
