"""Write files atomically: write them beside their destination, then move them there."""

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unroll.errors import DataError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path`; what was written there is moved into place if the block succeeds.

    Works for a file and for a folder. A killed process leaves the old content and a hidden `.NAME.HEX.part` beside it,
    never a half-written `path`. A folder takes two moves: between them, its old content is `.NAME.HEX.old`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield part
        if part.is_dir() and path.is_dir():
            # A folder cannot replace a folder that is not empty in one step.
            old = path.with_name(f".{path.name}.{uuid.uuid4().hex}.old")
            path.rename(old)
            part.rename(path)
            shutil.rmtree(old)
        else:
            part.replace(path)
    finally:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def require(path: Path, made_by: str) -> Path:
    """Return `path` if it exists.

    Raises:
        DataError: It does not exist; the message names the command that makes it.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist; run `unroll {made_by}` first, or `dvc repro` for all missing files")
    return path


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically, with Unix line ends."""
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, so that equal values give equal bytes. NaN is refused, as JSON has none."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def digest_of(folder: Path) -> str | None:
    """Return one SHA-256 of the names and contents of a folder's files, in hex; None if the folder does not exist."""
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{sha256_of(path)}  {path.relative_to(folder).as_posix()}\n".encode())
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    # Large blocks: beside threads that are busy with Python, each block waits for its turn.
    with path.open("rb", buffering=0) as file:
        while block := file.read(1 << 24):
            digest.update(block)
    return digest.hexdigest()
