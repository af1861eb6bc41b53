"""Where files are scored: by a process of this machine, or by workers on many machines.

An engine scores a file chunk by chunk, and joins what comes out. Chunks depend on the file alone (`stream.divide`), so
every engine writes the same bytes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from unroll.config.scoring import Scoring
from unroll.errors import DataError
from unroll.inference.bundle import Bundle
from unroll.inference.file_scorer import FileScorer
from unroll.inference.scored import Scored
from unroll.scoring.storage import Storage, StoredFile

T = TypeVar("T")


class LostError(Exception):
    """Workers died while they scored a file. The file failed, and the job goes on; the message is the reason."""


@dataclass(frozen=True)
class Content:
    """What an engine knows of a file before it is scored.

    Attributes:
        sha256: SHA-256 of its bytes.
        path: Where it is on this machine, if it is there.
        chunks: Its chunks, if other machines score it; empty if it is not divided.
    """

    sha256: str
    path: Path | None = None
    chunks: Sequence[Mapping[str, Any]] = field(default=(), repr=False)


class Engine(Protocol):
    """A context manager, within which files are scored."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def map(self, function: Callable[[StoredFile], T], files: Sequence[StoredFile]) -> Iterator[T]:
        """Yield the result for each file as it comes; several calls may be under way at once, in threads.

        If one of them raises, no further ones begin, and what those under way return is yielded before that is raised.
        """
        ...

    def examine(self, file: StoredFile, folder: Path) -> Content:
        """Look at a file; `folder` is an empty one for this file.

        Raises:
            TryLaterError: It may not be read, or is not the file that was listed any more.
            LostError: Workers died with it.
        """
        ...

    def score(self, file: StoredFile, content: Content, folder: Path, metadata: Mapping[str, Any]) -> Scored:
        """Score a file that was examined, into the same folder.

        Raises:
            DataError: It cannot be scored.
            TryLaterError: It changed meanwhile.
            LostError: Workers died with it.
        """
        ...


class LocalEngine:
    """Scores files one after the other in a process of this machine.

    Args:
        scoring: Limits.
        bundle: The model.
        inbox: Where the files are.
    """

    def __init__(self, scoring: Scoring, bundle: Bundle, inbox: Storage) -> None:
        self._inbox, self._max_bad_share = inbox, scoring.max_bad_share
        self._scorer = FileScorer(bundle.folder, threads=scoring.threads, **limits_of(scoring))

    def __enter__(self) -> Self:
        self._scorer.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._scorer.__exit__()

    def map(self, function: Callable[[StoredFile], T], files: Sequence[StoredFile]) -> Iterator[T]:
        """See `Engine`."""
        return map(function, files)

    def examine(self, file: StoredFile, folder: Path) -> Content:
        """See `Engine`."""
        path, sha256 = self._inbox.fetch(file, folder)
        return Content(sha256, path)

    def score(self, file: StoredFile, content: Content, folder: Path, metadata: Mapping[str, Any]) -> Scored:
        """See `Engine`."""
        if content.path is None:
            raise RuntimeError(f"{file.name} was not fetched")
        with named(str(content.path), f"{self._inbox.address}/{file.name}"):
            return self._scorer.score_file(
                content.path,
                folder / ".predictions",
                quarantine=folder / ".quarantine",
                metadata=metadata,
                max_bad_share=self._max_bad_share,
            )


def open_engine(scoring: Scoring, bundle: Bundle, folders: tuple[Storage, Storage, Storage]) -> Engine:
    """Return the engine that the parameters name.

    Raises:
        ParameterError: Its package is not installed.
    """
    if scoring.engine.kind == "local":
        return LocalEngine(scoring, bundle, folders[0])
    from unroll.scoring.dask_engine import DaskEngine

    return DaskEngine(scoring, scoring.engine, bundle, folders)


def limits_of(scoring: Scoring) -> dict[str, Any]:
    """Return what every `FileScorer` of a job is given, on whatever machine."""
    names = ("batch_rows", "chunk_rows", "memory_mb", "file_seconds", "settings")
    return {name: getattr(scoring, name) for name in names}


@contextmanager
def named(path: str, address: str) -> Iterator[None]:
    """In the message of a DataError, replace the path that a file has on some machine."""
    try:
        yield
    except DataError as error:
        raise type(error)(str(error).replace(path, address)) from error
