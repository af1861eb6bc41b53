"""Object stores and other file systems that fsspec reaches, as places."""

import contextlib
import hashlib
import importlib.util
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import fsspec

from unroll.errors import UnrollError
from unroll.inference.stamps import ChangedError
from unroll.scoring.names import local_name
from unroll.scoring.places import Found, Place, UnreadableError, sync

_BLOCK = 1 << 23
"""Bytes that are read or sent at once."""
_TAGS = ("ETag", "etag", "generation", "md5Hash", "content_md5")
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs"}
_SAME = {"s3a": "s3", "gcs": "gs", "az": "abfs"}
"""Protocol -> its other name, which addresses are kept under: locks and the ledger go by them."""


def store_of(address: str) -> "Store":
    """The store of an address.

    Raises:
        UnrollError: The protocol is not known here, or its package is not installed.
    """
    given, _, path = address.partition("://")
    protocol = _SAME.get(given, given)
    options: dict[str, Any] = {}
    if protocol == "s3":
        # Listings are not remembered: each look is to see what is there now. One client, which is slow to make, serves
        # all places of a server.
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        options = {"use_listings_cache": False, "endpoint_url": endpoint}
    try:
        system, root = fsspec.core.url_to_fs(f"{protocol}://{path}", **options)
    except ImportError as error:
        package = _PACKAGES.get(protocol)
        raise UnrollError(f"{address} needs the package {package or f'for {protocol}://'}: {error}") from None
    except ValueError as error:
        raise UnrollError(f"{address} cannot be used: {error}") from None
    return Store(protocol, system, root.rstrip("/"))


@cache
def store_errors() -> tuple[type[Exception], ...]:
    """What clients raise where a store is away, refuses, or says what nobody expected."""
    found: list[type[Exception]] = [OSError]
    if importlib.util.find_spec("botocore"):
        from botocore import exceptions

        found += [exceptions.BotoCoreError, exceptions.ClientError]
    return tuple(found)


@dataclass(frozen=True)
class Store:
    """A prefix of an object store. Objects appear whole, and nothing is renamed: a file is put to its final key."""

    protocol: str
    system: Any
    root: str

    @property
    def address(self) -> str:
        """Protocol, bucket and prefix."""
        return f"{self.protocol}://{self.root.lstrip('/')}"

    def files(self) -> Iterator[Found]:
        """Every object below the prefix; those that end in `/`, which consoles make, are no files.

        Raises:
            UnrollError: There is no such bucket.
        """
        self.system.invalidate_cache()
        try:
            listing = self.system.find(self.root, detail=True)
        except FileNotFoundError:
            bucket = self.root.partition("/")[0]
            if not self.system.exists(bucket):
                raise UnrollError(
                    f"{self.address} cannot be listed: there is no bucket {bucket}, or it is hidden from these "
                    "credentials; correct the address or make the bucket"
                ) from None
            return
        for key, info in listing.items():
            name = key.removeprefix(self.root).removeprefix("/")
            if info.get("type") == "file" and name and not key.endswith("/"):
                yield Found(name, _stamp(info), int(info.get("size") or 0), _changed(info))

    def require_same(self, found: Found) -> None:
        """Raises ChangedError unless the object is as it was when it was found."""
        try:
            info = self.system.info(self._key(found.name))
        except FileNotFoundError:
            raise ChangedError from None
        if _stamp(info) != found.stamp:
            raise ChangedError

    @contextlib.contextmanager
    def fetched(self, found: Found, staging: Path) -> Iterator[tuple[Path, str]]:
        """Gives a copy, which is removed when the block ends."""
        staging.mkdir(parents=True, exist_ok=True)
        # Readers go by its name: the ending tells a form, and of prices the stem the ticker.
        path = staging / local_name(found.name)
        digest = hashlib.sha256()
        try:
            with path.open("wb") as copy:
                for block in self._blocks_of(found):
                    digest.update(block)
                    copy.write(block)
            self.require_same(found)
            yield path, digest.hexdigest()
        finally:
            path.unlink(missing_ok=True)

    def staging(self, key: str, otherwise: Path) -> Path:
        """A folder elsewhere: nothing is staged in a store."""
        return otherwise / key

    def publish(self, staged: Path, name: str) -> None:
        """Puts the file to its key, in one piece or in parts that become an object together."""
        options = {"chunksize": _BLOCK, "max_concurrency": 2} if self.protocol == "s3" else {}
        self.system.put_file(str(staged), self._key(name), **options)
        staged.unlink()

    def exists(self, name: str) -> bool:
        """Whether there is an object of the name."""
        return bool(self.system.exists(self._key(name)))

    def sha256(self, name: str) -> str:
        """Of an object's content."""
        digest = hashlib.sha256()
        for block in self._blocks(name):
            digest.update(block)
        return digest.hexdigest()

    def take(self, name: str, to: Place, new_name: str, staging: Path, found: Found | None = None) -> None:
        """Copies within the store, or over this machine; the object goes away afterwards, if it is still the same."""
        if found:
            self.require_same(found)
        if isinstance(to, Store) and to.protocol == self.protocol:
            self.system.cp_file(self._key(name), to._key(new_name))
        else:
            staging.mkdir(parents=True, exist_ok=True)
            copy = staging / uuid.uuid4().hex
            self.system.get_file(self._key(name), str(copy))
            sync(copy)
            to.publish(copy, new_name)
        if found:
            self.require_same(found)
        self.remove(name)

    def remove(self, name: str) -> None:
        """Removes an object, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self.system.rm_file(self._key(name))

    def _blocks_of(self, found: Found) -> Iterator[bytes]:
        """Content of an inbox's object."""
        try:
            yield from self._blocks(found.name)
        except FileNotFoundError:
            raise ChangedError from None
        except PermissionError as error:
            # It is archived, say, or its owner lets nobody read it: no reason to leave those after it.
            raise UnreadableError(str(error)) from error
        except OSError:
            # Overwritten between two blocks, it has no such range, or not the tag any more that was asked for.
            self.require_same(found)
            raise

    def _blocks(self, name: str) -> Iterator[bytes]:
        with self.system.open(self._key(name), "rb", block_size=_BLOCK, cache_type="none") as source:
            # Not a byte too many is asked for: some servers refuse a range that ends beyond the object.
            while left := source.size - source.tell():
                yield source.read(min(_BLOCK, left))

    def _key(self, name: str) -> str:
        return f"{self.root}/{name}"


def _stamp(info: Mapping[str, Any]) -> str:
    """Tag of an object's content, or the time of its last change where the store has no tags; and its size."""
    tag = next((info[key] for key in _TAGS if info.get(key)), None)
    return f"{tag if tag is not None else f'{_changed(info):.6f}'}-{info.get('size')}"


def _changed(info: Mapping[str, Any]) -> float:
    for key in ("LastModified", "last_modified", "mtime", "updated", "modified", "created"):
        value = info.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return 0.0
