"""The part of a scoring job that runs on another machine, whichever engine brings it there.

A job sends orders, never rows. A worker reads the model and the files from the storage that it shares with the job, and
writes what it scored to `OUTPUT/_staging/`, under a name that depends on the order alone: twice the same work gives the
same bytes under the same name.
"""

import hashlib
import importlib.metadata
import json
import shutil
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import unroll
from unroll.errors import DataError, ParameterError, UnrollError
from unroll.files import digest_of, sha256_of
from unroll.inference.file_scorer import FileScorer
from unroll.scoring.engine import named
from unroll.scoring.storage import Storage, StoredFile

STAGING = "_staging"
"""Below the output. Readers skip names with a leading underscore."""
_SIDES = ("predictions", "quarantine")
_PACKAGES = ("distributed", "numpy", "onnxruntime", "pandas", "pyarrow", "soundfile", "tokenizers")
"""Packages on which the written bytes depend, and Dask's, whose versions have to understand each other."""


@dataclass(frozen=True)
class JobOrder:
    """What all chunks of a job have in common.

    Attributes:
        inbox: Address of the files, the same on every machine; so is `output`.
        output: Address below which the model is and the results go.
        bundle: Digest of the model's files, which is the name of their folder in the staging folder.
        versions: Versions of the code, which have to be the worker's.
        limits: Arguments of `FileScorer`.
    """

    inbox: str
    output: str
    bundle: str
    versions: Mapping[str, str]
    limits: Mapping[str, Any]


@dataclass(frozen=True)
class StagedChunk:
    """What a worker has written.

    Attributes:
        found: Counts for `scored.combined`.
        sha256: Name in the output → SHA-256 of its bytes; without those that would have no rows.
    """

    found: Mapping[str, Any]
    sha256: Mapping[str, str]


class ChunkWorker:
    """A model, opened on a worker, with one thread.

    Args:
        order: What to score.
        folder: An empty folder on this machine, for its own use; removed when it is closed or cannot be opened.

    Raises:
        ParameterError: The worker has other versions of the code than the job, or does not see the job's folders.
        UnrollError: The model's files are not those of the job, or cannot be read.
    """

    def __init__(self, order: JobOrder, folder: Path) -> None:
        self.order = order
        self._folder = folder
        try:
            own = versions()
            if own != order.versions:
                raise ParameterError(
                    f"a worker on {socket.gethostname()} has {_differences(own, order.versions)}; install the same "
                    "versions on all machines, and start their workers again"
                )
            self._inbox, self._output = Storage(order.inbox), Storage(order.output)
            self._scorer = FileScorer(self._fetch_model(), threads=1, **order.limits).__enter__()
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _fetch_model(self) -> Path:
        """Return a copy of the model's folder on this machine."""
        place = f"{STAGING}/{self.order.bundle}"
        names = self._output.names(place)
        for address, seen in ((f"{self.order.output}/{place}", names), (self.order.inbox, _has_entries(self._inbox))):
            if not seen:
                host = socket.gethostname()
                raise ParameterError(
                    f"{address} is missing or empty on {host}: this folder is not shared with {host}; mount it under "
                    "the same path on all machines, or use an object store"
                )
        model = self._folder / "model"
        for name in names:
            (model / name).parent.mkdir(parents=True, exist_ok=True)
            (model / name).write_bytes(self._output.read(f"{place}/{name}"))
        if digest_of(model) != self.order.bundle:
            raise UnrollError(
                f"{self.order.output}/{place} does not hold the files of the job's model; delete it and run the job "
                "again"
            )
        return model / "bundle"

    def close(self) -> None:
        """End the process that scores, and remove all files of this machine."""
        self._scorer.__exit__()
        shutil.rmtree(self._folder, ignore_errors=True)

    def examine(self, file: StoredFile) -> tuple[str, list[dict[str, Any]]]:
        """Return the SHA-256 of a file and its chunks.

        Raises:
            TryLaterError: It may not be read, or is not the file that was listed any more.
        """
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            path, sha256 = self._inbox.fetch(file, Path(folder))
            try:
                return sha256, self._scorer.divide(path)
            except DataError:
                # Whoever scores it will say what is wrong with it.
                return sha256, []

    def score(self, file: StoredFile, chunk: Mapping[str, Any] | None, metadata: Mapping[str, Any]) -> StagedChunk:
        """Score a chunk of a file, or all of it, into the staging folder.

        Raises:
            DataError: It cannot be scored.
            TryLaterError: It changed meanwhile.
            UnrollError: A disk is full, or the output cannot be written.
        """
        name = name_of(self.order, file, chunk, metadata)
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            path = self._inbox.fetch_ranges(file, chunk["ranges"] if chunk else (), Path(folder))
            places = {side: Path(folder, f".{side}") for side in _SIDES}
            with named(str(path), f"{self.order.inbox}/{file.name}"):
                found = self._scorer.score_chunk(
                    path, chunk, places["predictions"], quarantine=places["quarantine"], metadata=metadata
                )
            self._inbox.require_unchanged(file)
            written = {f"{name}.{side}.parquet": place for side, place in places.items() if place.exists()}
            sha256 = {name: sha256_of(place) for name, place in written.items()}
            for name, place in written.items():
                self._output.put(place, name)
        return StagedChunk(found, sha256)


def name_of(order: JobOrder, file: StoredFile, chunk: Mapping[str, Any] | None, metadata: Mapping[str, Any]) -> str:
    """Return the name of a chunk's results in the output, without what follows for predictions and quarantined rows."""
    content = json.dumps([asdict(order), asdict(file), chunk, metadata], sort_keys=True)
    return f"{STAGING}/{hashlib.sha256(content.encode()).hexdigest()}"


def _has_entries(inbox: Storage) -> bool:
    """Return whether a folder exists and is not empty; an object store is not listed, as every machine sees it."""
    root = Path(inbox.root)
    return not inbox.local or (root.is_dir() and any(root.iterdir()))


def _differences(own: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {own.get(name)} (the job: {one})" for name, one in wanted.items() if own.get(name) != one)


def versions() -> dict[str, str]:
    """Return the versions of the code on which the written bytes depend, that of unroll with a digest of its files."""
    digest = hashlib.sha256()
    package = Path(unroll.__file__).parent
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{sha256_of(path)}  {path.relative_to(package).as_posix()}\n".encode())
    own = {"unroll": f"{unroll.__version__} ({digest.hexdigest()[:12]})"}
    return own | {name: version_of(name) for name in _PACKAGES}


def version_of(package: str) -> str:
    """Return the version of an installed package, or `missing`."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
