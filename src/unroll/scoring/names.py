"""Names of what is written for a file of the inbox, whatever the file is called."""

import hashlib
import os
import re
from pathlib import Path

_UNSAFE = frozenset('%~\\:*?"<>|')
_MAX_PART_BYTES = 120
"""Of a part of a name: with version and ending, it stays within the 255 bytes of a file system."""
_MAX_FOLDERS_BYTES = 600
"""Of all folders of a name: with root and ending, it stays within the 1,024 bytes of a key on S3."""


def safe_name(name: str) -> str:
    r"""Return a relative path that is safe below any root: harmless names are kept, and no two names become one.

    What a file system, a shell or a terminal may interpret is percent-encoded: `a\b` becomes `a%5Cb`. Parts of more
    than 120 bytes become their beginning, a hash and the ending. A folder's `.parquet` becomes `%2Eparquet`: an inbox
    may hold both `x` and `x.parquet/y`, and predictions of `x` go to `x.parquet`.
    """
    *folders, last = [_safe_part(part) for part in name.split("/")]
    head = "/".join(re.sub(r"\.(?=(parquet|json)$)", "%2E", part) for part in folders)
    if len(head.encode()) > _MAX_FOLDERS_BYTES:
        head = f"folders~{_short_hash(head)}"
    return f"{head}/{last}" if folders else last


def shown_name(name: str) -> str:
    """Return the name as reports and metadata have it: as it is, if it can be printed."""
    return name if name.isprintable() else safe_name(name)


def _safe_part(part: str) -> str:
    if part in ("", ".", ".."):
        return "%" + "%2E" * len(part)
    safe = "".join(_encoded(one) if one in _UNSAFE or not one.isprintable() else one for one in part)
    if len(safe.encode()) <= _MAX_PART_BYTES:
        return safe
    # Readers need the ending. A tilde occurs nowhere else.
    ending = "".join(one for one in Path(part).suffixes[-2:] if one[1:].isalnum() and len(one) < 10)
    start = safe.encode()[: _MAX_PART_BYTES - 40].decode(errors="ignore")
    return f"{start}~{_short_hash(part)}{ending}"


def _encoded(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in os.fsencode(text))


def _short_hash(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:16]
