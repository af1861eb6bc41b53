"""Where files come from and go to: folders of this machine, and addresses that fsspec knows (`s3://bucket/prefix`).

A name is the path of a file below its place, with `/` between its parts. Names that come from an inbox are only ever
used to read what was listed under them; names of what is written are made of them by `unroll.scoring.names`.
"""

import contextlib
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from unroll.errors import ParameterError, UnrollError
from unroll.files import replacing, sha256_of
from unroll.inference.stamps import ChangedError, require_same, stamp_of


class UnreadableError(Exception):
    """A file that is there, but cannot be read."""


@dataclass(frozen=True)
class Found:
    """A file of an inbox.

    Attributes:
        name: Below its place.
        stamp: Changes whenever the file is written.
        size: Bytes.
        changed: When it was written last, in seconds since 1970.
        problem: Why it cannot be read, where it cannot.
    """

    name: str
    stamp: str = ""
    size: int = 0
    changed: float = 0.0
    problem: str | None = None


class Place(Protocol):
    """A folder, or a prefix of an object store.

    Every method but `fetched` and `require_same` may raise OSError, or what the store's client raises.
    """

    @property
    def address(self) -> str:
        """As messages have it."""

    def files(self) -> Iterator[Found]:
        """Every file below the place, in no particular order."""

    def require_same(self, found: Found) -> None:
        """Raises ChangedError unless the file is as it was when it was found."""

    def fetched(self, found: Found, staging: Path) -> contextlib.AbstractContextManager[tuple[Path, str]]:
        """Gives the file on this machine, in `staging` where it is not there already, and its SHA-256.

        Raises:
            ChangedError: It is gone, or no longer what was found.
            UnreadableError: It cannot be read.
        """

    def staging(self, key: str, otherwise: Path) -> Path:
        """A folder of this machine for files to be published here: on the place's own file system, if it has one."""

    def publish(self, staged: Path, name: str) -> None:
        """Moves a finished file of this machine into its place, whole; replaces what has the name."""

    def exists(self, name: str) -> bool:
        """Whether there is a file of the name."""

    def sha256(self, name: str) -> str:
        """Of a file's content."""

    def take(self, name: str, to: "Place", new_name: str, staging: Path, found: Found | None = None) -> None:
        """Moves a file from here into another place, whole.

        Args:
            name: The file's.
            to: The other place.
            new_name: The file's name there.
            staging: Folder of this machine for a copy on its way.
            found: What is to be moved, where others may write here: what has come in its place stays.

        Raises:
            ChangedError: It is gone, or no longer what was found. There may be a copy of what came in its place.
        """

    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""


@dataclass(frozen=True)
class Folder:
    """A folder of this machine, made when something is published in it."""

    path: Path

    @property
    def address(self) -> str:
        """The folder's path."""
        return str(self.path)

    def files(self) -> Iterator[Found]:
        """Every file, and what cannot be looked at, in no particular order; links to folders are not followed."""
        waiting = [self.path]
        while waiting:
            folder = waiting.pop()
            try:
                entries = list(os.scandir(folder))
            except OSError as error:
                if folder == self.path:
                    raise
                yield Found(folder.relative_to(self.path).as_posix(), problem=f"cannot be looked at: {error.strerror}")
                continue
            for entry in entries:
                path = Path(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                else:
                    yield self._found(path)

    def _found(self, path: Path) -> Found:
        name = path.relative_to(self.path).as_posix()
        try:
            status = path.stat()
        except OSError as error:
            return Found(name, problem=f"cannot be looked at: {error.strerror}")
        if not stat.S_ISREG(status.st_mode):
            return Found(name, problem="no file, but a link to a folder, a pipe or the like")
        return Found(name, stamp_of(status), status.st_size, status.st_mtime)

    def require_same(self, found: Found) -> None:
        """Raises ChangedError unless the file is as it was when it was found."""
        require_same(self.path / found.name, found.stamp)

    @contextlib.contextmanager
    def fetched(self, found: Found, staging: Path) -> Iterator[tuple[Path, str]]:
        """Gives the file where it lies."""
        del staging
        path = self.path / found.name
        self.require_same(found)
        try:
            sha256 = sha256_of(path)
        except FileNotFoundError:
            raise ChangedError from None
        except OSError as error:
            raise UnreadableError(error.strerror) from error
        self.require_same(found)
        yield path, sha256

    def staging(self, key: str, otherwise: Path) -> Path:
        """A hidden folder in this one."""
        del otherwise
        return self.path / f".staged-{key}"

    def publish(self, staged: Path, name: str) -> None:
        """Renames; across file systems, copies beside the place first. What is there then survives a power cut."""
        place = self.path / name
        if self._is_beside(staged, name):
            staged.replace(place)
        else:
            with replacing(place) as part:
                shutil.copyfile(staged, part)
                sync(part)
            staged.unlink()
        sync(place.parent)

    def _is_beside(self, path: Path, name: str) -> bool:
        """Whether a file can be renamed to a name of this place, whose folder is made."""
        folder = (self.path / name).parent
        folder.mkdir(parents=True, exist_ok=True)
        return path.stat().st_dev == folder.stat().st_dev

    def exists(self, name: str) -> bool:
        """Whether there is a file of the name."""
        return (self.path / name).exists()

    def sha256(self, name: str) -> str:
        """Of a file's content."""
        return sha256_of(self.path / name)

    def take(self, name: str, to: Place, new_name: str, staging: Path, found: Found | None = None) -> None:
        """Renames within a file system; else publishes a copy, and removes the file if it is still the same."""
        path = self.path / name
        if found:
            self.require_same(found)
        if isinstance(to, Folder) and to._is_beside(path, new_name):
            to.publish(path, new_name)
            return
        staging.mkdir(parents=True, exist_ok=True)
        copy = staging / uuid.uuid4().hex
        shutil.copyfile(path, copy)
        sync(copy)
        to.publish(copy, new_name)
        if found:
            self.require_same(found)
        path.unlink()

    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""
        (self.path / name).unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Returns when a file or a folder is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def place_of(address: str) -> Place:
    """The place of an address: a path, or `PROTOCOL://…` as fsspec has them.

    Credentials are those of the protocol's own environment variables or files; none stand in the address. However a
    folder is called, its place has one address: locks and the ledger go by that. It is relative to the current folder
    where it lies below it, so that both can be moved together.

    Raises:
        ParameterError: A password stands in the address, or several protocols do.
        UnrollError: The protocol is not known here, or its package is not installed.
    """
    host = address.partition("://")[2].partition("/")[0]
    if "@" in host:
        raise ParameterError(
            f"the address of {host.rpartition('@')[2]} has a user or a password in it, which would be in every log and "
            "in the ledger; leave it out and set what the protocol reads from the environment"
        )
    if "::" in address:
        raise ParameterError(f"{address} has several protocols; name one place, such as s3://bucket/inbox")
    if "://" not in address or address.startswith(("file://", "local://")):
        path, here = Path(os.path.realpath(address.rpartition("://")[2])), Path.cwd()
        return Folder(path.relative_to(here) if path.is_relative_to(here) else path)
    from unroll.scoring.stores import store_of

    return store_of(address)


def above(place: Place, name: str) -> Place:
    """The place `name` beside a place.

    Raises:
        UnrollError: Nothing can stand beside it, for it is a whole bucket.
    """
    if isinstance(place, Folder):
        return Folder(place.path.parent / name)
    head, _, last = place.address.rstrip("/").rpartition("/")
    if not last or head.endswith("/"):
        raise UnrollError(f"{place.address} is a whole bucket; name a folder in it: {place.address}/predictions, say")
    return place_of(f"{head}/{name}")


def overlap(one: Place, other: Place) -> bool:
    """Whether one place lies in the other, or is it."""
    if isinstance(one, Folder) != isinstance(other, Folder):
        return False
    if isinstance(one, Folder) and isinstance(other, Folder):
        here, there = one.path.resolve(), other.path.resolve()
        return here.is_relative_to(there) or there.is_relative_to(here)
    here_, there_ = f"{one.address}/", f"{other.address}/"
    return here_.startswith(there_) or there_.startswith(here_)
