"""Names from an inbox: as the ledger and reports have them, and as parts of names that are written."""

import hashlib
import os
import unicodedata
from pathlib import Path

from unroll.inference.forms import stem_of

_PART_BYTES = 120
"""Of a part of a name: with what is added, it stays within a file system's 255 bytes."""
_FOLDERS_BYTES = 600
"""Of all folders together: beyond it, their digest stands in for them."""
ROWS = ".quarantine.parquet"
"""Ending of a file of rows that were set aside."""


def shown(name: str) -> str:
    """A name as proper, printable text, different for different names.

    A backslash becomes two; control characters, and bytes that are no UTF-8, become `\\xNN` or `\\u…`.
    """
    text = os.fsencode(name.replace("\\", "\\\\")).decode("utf-8", errors="backslashreplace")
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or not unicodedata.category(one).startswith("C") else ascii(one)[1:-1] for one in text
    )


def safe(part: str) -> str:
    """A part of a name, fit to be a part of another: no separator, no control character, neither `.` nor `..`.

    Not longer than 120 bytes. Different parts may come out alike.
    """
    part = shown(part)
    part = "".join("_" if one in '/\\:*?"<>|' else one for one in part).strip()
    part = part.encode()[:_PART_BYTES].decode(errors="ignore").rstrip()
    return f"_{part.lstrip('.')}" if not part or part.startswith(".") else part


def local_name(name: str) -> str:
    """Name for a copy of a file on this machine: its own, without folders and fit to be one."""
    last = name.rpartition("/")[2]
    endings = "".join(one for one in Path(last).suffixes[-2:] if one[1:].isalnum() and len(one) < 10)
    return safe(last.removesuffix(endings)) + endings


def folders(name: str) -> str:
    """The folders of a name, each of them safe, with `/` after each."""
    parts = name.split("/")[:-1]
    found = "".join(f"{safe(part)}/" for part in parts)
    if len(found.encode()) > _FOLDERS_BYTES:
        return f"deep-{_short(name.rpartition('/')[0])}/"
    return found


def outputs(name: str, sha256: str, day: str) -> tuple[str, str]:
    """Names for a file's predictions; the second is for content that came as a.csv and as a.CSV, say."""
    first = f"scored_on={day}/{folders(name)}{safe(stem_of(name.rpartition('/')[2]))}-{sha256[:8]}"
    return f"{first}.parquet", f"{first}-{_short(name)}.parquet"


def aside(output: str) -> str:
    """Name for the rows of a file that could not be scored."""
    return output.removesuffix(".parquet") + ROWS


def rejected(name: str, sha256: str, output: str, *, taken: bool) -> str:
    """Name for a file that could not be scored.

    Args:
        name: The file's.
        sha256: Of its content.
        output: Name that its predictions would have had: its folders are kept.
        taken: Whether another file has the name.
    """
    last = safe(name.rpartition("/")[2])
    if taken or last.endswith(ROWS):
        last = f"{sha256[:8]}-{last}"
    return f"{output.rpartition('/')[0]}/{last}"


def retired(output: str, token: str) -> str:
    """Name for predictions that others took the place of: no two of them share one."""
    stem, ending = (output.removesuffix(ROWS), ROWS) if output.endswith(ROWS) else (output.removesuffix(".parquet"), "")
    return f"{stem}-{token[:8]}{ending or '.parquet'}"


def _short(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:8]
