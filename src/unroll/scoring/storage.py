"""Folders of this machine and prefixes of object stores, read and written the same way through fsspec."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from unroll.errors import ParameterError, UnrollError
from unroll.files import replacing, sha256_of
from unroll.scoring.names import safe_name
from unroll.scoring.storage_errors import translated

_MAX_NAME_BYTES = 255
_BLOCK = 1 << 23
"""Bytes that are read from an object store at once."""


class TryLaterError(Exception):
    """A file that cannot be read now and is left for the next job; the text is the reason."""


@dataclass(frozen=True)
class StoredFile:
    """A file as a listing shows it.

    Attributes:
        name: Path below the storage's root, with `/` between its parts.
        version: Differs after each write: the ETag, or size, times and inode. Safe as a part of a file name.
        changed: Time of the last write, in seconds since 1970.
        problem: Why it cannot be read, if it cannot.
    """

    name: str
    version: str = ""
    changed: float = 0.0
    problem: str | None = None


class Storage:
    """A folder, or a prefix of an object store.

    Every method raises ServiceUnavailable if the store's server is unavailable, UnrollError if it refuses or the
    disk is full.

    Args:
        address: A path, or what fsspec knows, such as `s3://bucket/inbox`. Credentials come from the environment.

    Raises:
        ParameterError: The address holds a password, chains several protocols, or has an unknown one.
    """

    def __init__(self, address: str) -> None:
        host = address.partition("://")[2].partition("/")[0]
        if "@" in host:
            raise ParameterError(
                f"the address of {host.rpartition('@')[2]} holds a user or password, which would end up in logs; "
                "leave it out and set the environment variables of the protocol instead"
            )
        if "::" in address:
            raise ParameterError(f"{address} chains several protocols; expected one place, such as s3://bucket/inbox")
        protocol = address.partition("://")[0]
        # Listings are never cached: each job has to see what is there now.
        options = {"use_listings_cache": False, "max_concurrency": 1} if protocol in ("s3", "s3a") else {}
        try:
            self.fs, root = fsspec.core.url_to_fs(address, **options)
        except (ImportError, ValueError) as error:
            raise ParameterError(f"{address} cannot be used: {error}") from error
        self.local = isinstance(self.fs, LocalFileSystem)
        self.root = os.path.realpath(root) if self.local else root.rstrip("/")
        path, here = Path(self.root), Path.cwd()
        if not self.local:
            self.address = str(self.fs.unstrip_protocol(self.root))
        else:
            self.address = str(path.relative_to(here) if path.is_relative_to(here) else path)

    def overlaps(self, other: "Storage") -> bool:
        """Return whether one of the two is inside the other, or both are the same."""
        mine, theirs = f"{self.root}/", f"{other.root}/"
        return type(self.fs) is type(other.fs) and (mine.startswith(theirs) or theirs.startswith(mine))

    def files(self) -> list[StoredFile]:
        """Return every file below the root, sorted by name; links to folders are not followed."""
        with self._errors():
            listing, problems = self._list(self.root)
            found = [self._describe(key, info) for key, info in listing.items()]
        for problem in problems:
            name = os.path.relpath(problem.filename, self.root)
            found.append(StoredFile(name, problem=f"cannot be listed: {problem.strerror}"))
        return sorted(found, key=lambda file: file.name)

    def names(self, below: str) -> list[str]:
        """Return the names of all files below a folder, relative to that folder."""
        folder = f"{self.root}/{below}"
        with self._errors():
            listing, problems = self._list(folder)
            if problems:
                raise problems[0]
        return [key.removeprefix(f"{folder}/") for key in listing]

    def _list(self, folder: str) -> tuple[dict[str, Mapping[str, Any]], list[OSError]]:
        """Return what is below a folder, by its full path, and the folders of this machine that may not be read."""
        if self.local:
            # fsspec passes over folders that may not be read.
            problems: list[OSError] = []
            listing: dict[str, Mapping[str, Any]] = {}
            for parent, folders, files in os.walk(folder, onerror=problems.append):
                links = (name for name in folders if Path(parent, name).is_symlink())
                listing |= {f"{parent}/{name}": {} for name in (*files, *links)}
            problems = [problem for problem in problems if not isinstance(problem, FileNotFoundError)]
            if problems and problems[0].filename == folder:
                raise problems[0]
            return listing, problems
        try:
            found = self.fs.find(folder, detail=True)
        except FileNotFoundError as error:
            raise UnrollError(f"{self.address} cannot be listed: the bucket does not exist") from error
        # Consoles of object stores make objects whose names end in `/` to show folders.
        return {key: info for key, info in found.items() if key != folder and not key.endswith("/")}, []

    def fetch(self, file: StoredFile, folder: Path) -> tuple[Path, str]:
        """Return the file on this machine (where it is, or a copy in `folder`) and its SHA-256.

        Raises:
            TryLaterError: It may not be read, or is not the file that was listed any more.
        """
        with self._reading(file):
            path = Path(self.root, file.name) if self.local else self._copy(file, folder)
            return path, sha256_of(path)

    def fetch_ranges(self, file: StoredFile, ranges: Sequence[tuple[int, int]], folder: Path) -> Path:
        """Return the file on this machine: where it is, or a copy in `folder` with holes around these bytes.

        Raises:
            TryLaterError: It may not be read, or is not the file that was listed any more.
        """
        with self._reading(file):
            return Path(self.root, file.name) if self.local else self._copy(file, folder, ranges)

    @contextlib.contextmanager
    def _reading(self, file: StoredFile) -> Iterator[None]:
        try:
            with self._errors():
                yield
        except FileNotFoundError as error:
            raise TryLaterError("changed while it was read") from error
        except UnrollError as error:
            # Objects that are overwritten while they are read end in various errors.
            self.require_unchanged(file)
            if isinstance(error.__cause__, PermissionError):
                raise TryLaterError(f"cannot be read: {error.__cause__}") from error
            raise
        self.require_unchanged(file)

    def require_unchanged(self, file: StoredFile) -> None:
        """Raise TryLaterError unless the file still has the version that was listed."""
        key = f"{self.root}/{file.name}"
        try:
            with self._errors():
                now = self._describe(key, {} if self.local else self.fs.info(key))
        except FileNotFoundError:
            now = StoredFile(file.name)
        if now.version != file.version:
            raise TryLaterError("changed while it was read")

    def put(self, source: Path, name: str) -> None:
        """Move a file of this machine to `name`. Readers see the old file or the new one, never a part of it."""
        target = Path(self.root, name)
        with self._errors(name):
            if not self.local:
                self.fs.put_file(str(source), f"{self.root}/{name}")
                source.unlink()
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.stat().st_dev == target.parent.stat().st_dev:
                source.replace(target)
            else:
                with replacing(target) as part:
                    shutil.copyfile(source, part)
                    sync(part)
            sync(target.parent)

    def read(self, name: str) -> bytes:
        """Read a file; FileNotFoundError passes through."""
        with self._errors(name):
            return bytes(self.fs.cat_file(f"{self.root}/{name}"))

    def blocks(self, name: str) -> Iterator[bytes]:
        """Read a file block by block; FileNotFoundError passes through."""
        with (
            self._errors(name),
            self.fs.open(f"{self.root}/{name}", "rb", block_size=_BLOCK, cache_type="none") as file,
        ):
            # Some servers refuse a range that ends beyond the object.
            while (left := file.size - file.tell()) > 0:
                yield file.read(min(_BLOCK, left))

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Read a JSON file; None if it does not exist or is damaged."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            value = json.loads(self.read(name))
            return value if isinstance(value, dict) else None
        return None

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""
        with self._errors(name), contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(f"{self.root}/{name}")

    def _describe(self, key: str, info: Mapping[str, Any]) -> StoredFile:
        name = key.removeprefix(self.root).removeprefix("/")
        if not self.local:
            changed = _time_of(info)
            tag = next((info[field] for field in ("ETag", "etag", "md5Hash") if info.get(field)), None)
            return StoredFile(name, _safe_version(tag or f"{info.get('size')}-{changed:.6f}"), changed)
        try:
            status = Path(key).stat()
        except OSError as error:
            return StoredFile(name, problem=f"cannot be opened: {error.strerror}")
        if not stat.S_ISREG(status.st_mode):
            return StoredFile(name, problem="is not a regular file")
        # The time of the inode's change, too: whoever writes a file can set the other one back.
        parts = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        return StoredFile(name, "-".join(f"{part:x}" for part in parts), status.st_mtime)

    def _copy(self, file: StoredFile, folder: Path, ranges: Sequence[tuple[int, int]] = ()) -> Path:
        # Readers need the names: the ending is the format, the stem or the folder the ticker of prices, and partitions,
        # the folders NAME=VALUE, are columns.
        *folders, name = file.name.split("/")
        kept = [one if "=" in one else safe_name(one) for one in folders]
        if any(len(os.fsencode(one)) > _MAX_NAME_BYTES for one in kept):
            raise TryLaterError("the name of a folder above it is too long")
        path = folder.joinpath(*kept, safe_name(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        key = f"{self.root}/{file.name}"
        with path.open("wb") as copy, self.fs.open(key, "rb", block_size=_BLOCK, cache_type="none") as source:
            for start, end in ranges or [(0, source.size)]:
                source.seek(start)
                copy.seek(start)
                # Some servers refuse a range that ends beyond the object.
                while (left := min(end, source.size) - source.tell()) > 0:
                    copy.write(source.read(min(_BLOCK, left)))
        return path

    def _errors(self, name: str = "") -> contextlib.AbstractContextManager[None]:
        return translated(f"{self.address}/{name}" if name else self.address, self.local)


def _safe_version(text: str) -> str:
    text = text.strip('"')
    return text if re.fullmatch(r"[\w.-]{1,64}", text, re.ASCII) else hashlib.sha256(text.encode()).hexdigest()[:32]


def _time_of(info: Mapping[str, Any]) -> float:
    for field in ("LastModified", "last_modified", "mtime", "created"):
        value = info.get(field)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return 0.0


def sync(path: Path) -> None:
    """Wait until a file or folder of this machine is on its disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
