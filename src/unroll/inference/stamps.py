"""Whether a file is still the one that was looked at."""

import os
from pathlib import Path


class ChangedError(Exception):
    """The file changed while it was read."""


def stamp_of(status: os.stat_result) -> str:
    """What changes whenever a file is written, whatever time its writer gives it."""
    return f"{status.st_dev}-{status.st_ino}-{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}"


def require_same(path: Path, stamp: str) -> None:
    """Raises `ChangedError` unless the file is as it was."""
    try:
        now = stamp_of(path.stat())
    except OSError:
        raise ChangedError from None
    if now != stamp:
        raise ChangedError
