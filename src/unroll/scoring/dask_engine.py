"""Score on the workers of a Dask cluster. Nothing else in unroll knows of Dask."""

import contextlib
import hashlib
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Self

from unroll.config.scoring import DaskEngineConfig, Scoring
from unroll.errors import ParameterError, ServiceUnavailable, UnrollError
from unroll.files import digest_of
from unroll.inference.bundle import PROVENANCE, Bundle
from unroll.inference.file_scorer import written
from unroll.inference.scored import Scored, combined, join
from unroll.scoring.chunk_worker import STAGING, ChunkWorker, JobOrder, StagedChunk, versions
from unroll.scoring.engine import Content, LostError, T, limits_of, named
from unroll.scoring.storage import Storage, StoredFile, TryLaterError, sync

try:
    import distributed
except ModuleNotFoundError as error:
    if error.name not in ("dask", "distributed"):
        raise
    raise ParameterError(
        'scoring.engine.kind is dask, but Dask is not installed: pip install -c constraints.txt -e ".[dask]"'
    ) from None

_SECONDS_TO_CONNECT = 60.0
_STALE_SECONDS = 24 * 60 * 60
_FILES_AT_ONCE = 128
"""Files that workers have at the same time: twice as many as there are workers with one thread keep all busy."""
_JOINS_AT_ONCE = 8
"""Files whose chunks are joined at the same time: each takes memory for some ten thousand rows."""
_ONE_AT_A_TIME = threading.Lock()
"""Of the threads of a worker, which share its model."""


class DaskEngine:
    """Sends chunks to Dask workers, and joins what they have written; see `engine.Engine`.

    Args:
        scoring: Limits.
        config: Address of the scheduler, or number of worker processes on this machine.
        bundle: The model.
        folders: Input and output.
    """

    def __init__(
        self, scoring: Scoring, config: DaskEngineConfig, bundle: Bundle, folders: tuple[Storage, Storage, Storage]
    ) -> None:
        self._config, self._bundle, self._max_bad_share = config, bundle, scoring.max_bad_share
        self._inbox, self._output, _ = folders
        self._limits = limits_of(scoring)
        self._joining = threading.Semaphore(_JOINS_AT_ONCE)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            # Its threads wait for results, and end once the connection is closed.
            self._pool = stack.enter_context(ThreadPoolExecutor(_FILES_AT_ONCE))
            self._client = stack.enter_context(self._connected())
            stack.callback(self._pool.shutdown, wait=False, cancel_futures=True)
            self._order = JobOrder(
                inbox=_everywhere(self._inbox),
                output=_everywhere(self._output),
                bundle=self._stage_bundle(),
                versions=versions(),
                limits=self._limits,
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def map(self, function: Callable[[StoredFile], T], files: Sequence[StoredFile]) -> Iterator[T]:
        """See `engine.Engine`."""
        calls = [self._pool.submit(function, file) for file in files]
        left = set(calls)
        try:
            for call in as_completed(calls):
                left.remove(call)
                yield call.result()
        except GeneratorExit:
            raise
        except BaseException:
            for call in left:
                call.cancel()
            # Those that wait for workers end at once; those that publish what workers have scored finish.
            self._client.close()
            for call in as_completed(left):
                with contextlib.suppress(Exception):
                    yield call.result()
            raise

    def examine(self, file: StoredFile, folder: Path) -> Content:
        """See `engine.Engine`."""
        del folder
        ((sha256, chunks),) = self._results([self._submit("examine", file)])
        return Content(sha256, chunks=chunks)

    def score(self, file: StoredFile, content: Content, folder: Path, metadata: Mapping[str, Any]) -> Scored:
        """See `engine.Engine`."""
        chunks: Sequence[Mapping[str, Any] | None] = [*content.chunks] or [None]
        address = f"{self._inbox.address}/{file.name}"
        with named(f"{self._order.inbox}/{file.name}", address):
            staged: list[StagedChunk] = self._results([self._submit("score", file, one, metadata) for one in chunks])
        total = combined(address, [one.found for one in staged], self._max_bad_share)
        output, quarantine = folder / ".predictions", folder / ".quarantine"
        self._join(staged, total, output, quarantine)
        for one in staged:
            for name in one.sha256:
                self._output.remove(name)
        return Scored(Path(file.name), output, quarantine if total["rows_quarantined"] else None, **total)

    def _join(self, staged: Sequence[StagedChunk], total: Mapping[str, Any], output: Path, quarantine: Path) -> None:
        """Write what workers have written of a file's chunks into one file each."""
        for side, path in (("predictions", output), ("quarantine", quarantine)):
            with self._joining, written(path):
                if len(staged) > 1 and (side == "predictions" or total["rows_quarantined"]):
                    join(self._copies(staged, side, path.with_name(".part")), path, total)
                else:
                    for copy in self._copies(staged, side, path):
                        sync(copy)

    def _submit(self, method: str, *arguments: Any) -> "distributed.Future":
        # Not pure: results of an earlier submission may have been removed.
        try:
            return self._client.submit(_on_worker, self._order, method, *arguments, pure=False)
        except distributed.client.ClosedClientError as error:
            raise self._gone() from error

    def _results(self, futures: Sequence["distributed.Future"]) -> list[Any]:
        """Return the results in order, or raise the first error in this order."""
        try:
            found = []
            for future in futures:
                found.append(future.result())
                if isinstance(found[-1], Exception):
                    raise found[-1]
            return found
        except (CancelledError, OSError) as error:
            raise self._gone() from error
        except distributed.KilledWorker as error:
            raise LostError(
                f"{error.allowed_failures + 1} Dask workers died while they had it, the last one at "
                f"{error.last_worker.address}; their logs may say why, most often too little memory for so many workers"
            ) from error
        finally:
            for future in futures:
                future.release()

    def _copies(self, staged: Sequence[StagedChunk], side: str, copy: Path) -> Iterator[Path]:
        """Copy what workers have written of predictions or quarantined rows, one after the other to the same path."""
        for one in staged:
            for name, sha256 in one.sha256.items():
                if not name.endswith(f".{side}.parquet"):
                    continue
                digest = hashlib.sha256()
                try:
                    with copy.open("wb") as file:
                        for block in self._output.blocks(name):
                            digest.update(block)
                            file.write(block)
                except FileNotFoundError:
                    raise TryLaterError("another job scores it, too") from None
                if digest.hexdigest() != sha256:
                    raise TryLaterError(f"{name} was written again, by a worker that computes otherwise")
                yield copy

    def _gone(self) -> ServiceUnavailable:
        return ServiceUnavailable(f"the Dask scheduler {self._address} is gone; run again later; finished files stay")

    @contextlib.contextmanager
    def _connected(self) -> Iterator["distributed.Client"]:
        with contextlib.ExitStack() as stack:
            address: Any = self._config.scheduler
            if address is None:
                address = stack.enter_context(
                    distributed.LocalCluster(
                        n_workers=self._config.workers,
                        threads_per_worker=1,
                        processes=True,
                        dashboard_address="127.0.0.1:0",
                    )
                )
            self._address = self._config.scheduler or "on this machine"
            try:
                client = stack.enter_context(distributed.Client(address, set_as_default=False))
                client.wait_for_workers(1, timeout=_SECONDS_TO_CONNECT)
            except OSError as error:
                raise ServiceUnavailable(
                    f"the Dask scheduler {self._address} does not answer, or has no workers; run again later"
                ) from error
            except TypeError as error:
                # What Dask raises for tls if its configuration names no certificates.
                raise ParameterError(f"the Dask scheduler {self._address} cannot be used: {error}") from error
            yield client

    def _stage_bundle(self) -> str:
        """Put the model's files where workers find them, remove what killed jobs left there, and return the digest."""
        staging = Storage(f"{_everywhere(self._output)}/{STAGING}")
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder, "model")
            # Without the times of the originals: another job would remove them as stale.
            shutil.copytree(self._bundle.folder, model / "bundle", copy_function=shutil.copyfile)
            provenance = self._bundle.folder.with_name(PROVENANCE)
            if provenance.is_file():
                shutil.copyfile(provenance, model / PROVENANCE)
            digest = digest_of(model)
            # Also if they are there: this renews their times.
            for path in sorted(path for path in model.rglob("*") if path.is_file()):
                staging.put(path, f"{digest}/{path.relative_to(model).as_posix()}")
        for file in staging.files():
            if time.time() - file.changed > _STALE_SECONDS:
                staging.remove(file.name)
        return str(digest)


def _on_worker(order: JobOrder, method: str, *arguments: Any) -> Any:
    """Call a method of this worker's `ChunkWorker`, which is kept for the next chunk and the next job.

    Returns:
        What the method returns or, as Dask takes each exception of a task for a fault of the program, the error.
    """
    worker: Any = distributed.get_worker()
    try:
        with _ONE_AT_A_TIME:
            kept: ChunkWorker | None = getattr(worker, "unroll", None)
            if kept is None or kept.order != order:
                if kept:
                    kept.close()
                worker.unroll = None
                # Dask removes its folders, also those of workers that were killed.
                folder = Path(tempfile.mkdtemp(prefix="unroll-", dir=worker.local_directory))
                worker.unroll = kept = ChunkWorker(order, folder)
            return getattr(kept, method)(*arguments)
    except (UnrollError, TryLaterError) as error:
        return error
    except OSError as error:
        # Not as it is: the job would take it for the loss of the scheduler.
        return UnrollError(f"a worker on {socket.gethostname()} failed: {error}; fix this and run again")


def _everywhere(storage: Storage) -> str:
    """Return an address that does not depend on the working directory."""
    return storage.root if storage.local else storage.address
