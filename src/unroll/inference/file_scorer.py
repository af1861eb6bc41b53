"""Score files in a process of its own, under a limit of memory and of time for each file, or each chunk of one.

A small file can hold gigabytes, or take forever, in more ways than a reader can look for. The worker process
(`unroll.inference.worker`) holds them off: a file that exceeds a limit ends it, is rejected for that, and the next one
gets a new process. Nothing here imports more than the standard library, except to join
what was scored of a file in chunks.
"""

import contextlib
import itertools
import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

from unroll import errors
from unroll.errors import DataError, ParameterError, UnrollError
from unroll.inference.scored import Scored, combined, join

if TYPE_CHECKING:
    from unroll.config.decoding import DecodingConfig

OUT_OF_MEMORY = 3
"""Exit status of a worker that needs more memory than it may."""
_LEAST_MB = 256
_STOPPED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _DiedError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class FileScorer:
    """A bundle, ready to score files; a context manager, within which one worker process is kept.

    Args:
        bundle: Folder of the bundle, or the model's folder that holds it.
        threads: Number of simultaneous calls of the graph, each by one thread.
        batch_rows: Number of rows per call of the graph.
        memory_mb: Memory of the worker process, in MiB.
        file_seconds: Time for a file, or for each chunk of it; None for no limit.
        decoding: Settings that replace the card's, for models that write text.
        settings: Settings of files that replace the card's, such as `{"header": False}`.
        chunk_rows: Least number of rows that are scored together of a file that can be divided.
    """

    def __init__(
        self,
        bundle: Path,
        *,
        threads: int,
        batch_rows: int,
        memory_mb: int,
        file_seconds: float | None = None,
        decoding: "DecodingConfig | None" = None,
        settings: Mapping[str, Any] | None = None,
        chunk_rows: int = 100_000,
    ) -> None:
        numbers = {"threads": threads, "batch_rows": batch_rows, "memory_mb": memory_mb}
        for name, value in numbers.items():
            least = _LEAST_MB if name == "memory_mb" else 1
            if value < least:
                raise ParameterError(f"{name} is {value}; it must be at least {least}")
        self._bundle, self._memory_mb, self._seconds = bundle, memory_mb, file_seconds
        self._chunk_rows = chunk_rows
        changes = decoding.model_dump(exclude_unset=True) if decoding else {}
        self._settings: dict[str, Any] = {"bundle": str(bundle), **numbers, "decoding": changes}
        self._settings["file_settings"] = dict(settings or {})
        self._worker: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Start the worker.

        Raises:
            BundleError: The bundle is incomplete or altered, or onnxruntime cannot load the graph.
            ParameterError: The model cannot decode as asked, or does not fit into `memory_mb`.
        """
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def score_file(
        self,
        source: Path,
        output: Path,
        *,
        quarantine: Path,
        metadata: Mapping[str, Any],
        max_bad_share: float = 1.0,
    ) -> Scored:
        """Score a file, chunk by chunk, and move its predictions into place atomically.

        Args:
            source: A file in a form that the model's reader takes.
            output: Parquet file for the predictions; replaced if it exists.
            quarantine: File for the rows that cannot be scored; removed if there are none.
            metadata: Further metadata for both files, as JSON.
            max_bad_share: Largest share of the rows that may be quarantined.

        Raises:
            DataError: The file, every row of it, or too large a share of its rows cannot be scored, or it needs more
                memory or time than it may.
            BundleError: onnxruntime cannot run the graph.
            UnrollError: An output cannot be written, or the worker was stopped from outside.
        """
        chunks: list[Mapping[str, Any] | None] = [*self.divide(source)] or [None]
        # Named here, and so removed whatever becomes of the worker.
        parts = [[path.with_name(f".{uuid.uuid4().hex}.part") for _ in chunks] for path in (output, quarantine)]
        try:
            found = [
                self.score_chunk(source, chunk, scored, quarantine=refused, metadata=metadata)
                for chunk, scored, refused in zip(chunks, *parts, strict=True)
            ]
            total = combined(source, found, max_bad_share)
            with written(output):
                _replace(quarantine, parts[1], total)
                _replace(output, parts[0], total)
        finally:
            for part in itertools.chain(*parts):
                part.unlink(missing_ok=True)
        return Scored(source, output, quarantine if total["rows_quarantined"] else None, **total)

    def divide(self, source: Path) -> list[dict[str, Any]]:
        """Return the chunks that a file is scored in, as JSON has them; none if it is not divided.

        Raises:
            DataError: The file needs more memory or time for that than it may.
        """
        chunks: list[dict[str, Any]] = self._handle(source, chunk_rows=self._chunk_rows)["chunks"]
        return chunks

    def score_chunk(
        self,
        source: Path,
        chunk: Mapping[str, Any] | None,
        output: Path,
        *,
        quarantine: Path,
        metadata: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Score a chunk of a file, or all of it, into files that are written only if they have rows.

        Returns:
            Counts for `scored.combined`.

        Raises:
            DataError, BundleError, UnrollError: As `score_file`.
        """
        with written(output):
            output.parent.mkdir(parents=True, exist_ok=True)
            quarantine.parent.mkdir(parents=True, exist_ok=True)
            places = {"output": str(output), "quarantine": str(quarantine)}
            return self._handle(source, **places, chunk=chunk, metadata=dict(metadata))

    def _handle(self, source: Path, **request: Any) -> dict[str, Any]:
        """Send a request about a file."""
        if not self._worker:
            self._start()
        try:
            return self._ask(source=str(source), seconds=self._seconds or 0, **request)
        except _DiedError as error:
            self._reject(source, error.status)

    def _start(self) -> None:
        command = [sys.executable, "-P", "-m", "unroll.inference.worker"]
        # In a session of its own: what stops the parent, such as Ctrl-C, must not look like a file that kills workers.
        self._worker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            self._ask(**self._settings)
        except _DiedError as error:
            raise ParameterError(
                f"the worker process {_ended(error.status)} while it loaded {self._bundle}; memory_mb is "
                f"{self._memory_mb}: raise it"
            ) from None
        except BaseException:
            self._stop()
            raise

    def _stop(self) -> None:
        worker, self._worker = self._worker, None
        if worker:
            with contextlib.suppress(BrokenPipeError), worker:
                worker.kill()

    def _ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait for the reply, or raise the error that it reports."""
        worker = self._worker
        if worker is None or worker.stdin is None or worker.stdout is None:
            raise RuntimeError("there is no worker")
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(request), file=worker.stdin, flush=True)
        line = worker.stdout.readline()
        if not line.endswith("\n"):
            status = worker.wait()
            self._stop()
            raise _DiedError(status)
        reply: dict[str, Any] = json.loads(line)
        if "error" not in reply:
            return reply
        kind, message = reply["error"], reply["message"]
        if kind == "OSError":
            raise OSError(message)
        if not kind:
            raise RuntimeError(message)
        raise getattr(errors, kind)(message)

    def _reject(self, source: Path, status: int) -> NoReturn:
        """Raise the error that a worker's end means for the file that it was scoring."""
        if -status in _STOPPED:
            raise UnrollError(f"the worker process was stopped from outside ({signal.Signals(-status).name})") from None
        if status == OUT_OF_MEMORY:
            reason = f"needs more than memory_mb, {self._memory_mb:,} MiB: its rows are too long, or it holds far more "
            reason += "than its size; split it, or raise memory_mb"
        elif status == -signal.SIGALRM:
            reason = f"takes more than file_seconds, {self._seconds:g} s; split it, or raise file_seconds"
        else:
            reason = f"cannot be scored: the worker process {_ended(status)}; it is damaged, or memory_mb "
            reason += f"({self._memory_mb:,} MiB) is too little for it"
        raise DataError(f"{source} {reason}") from None


@contextlib.contextmanager
def written(output: Path) -> Iterator[None]:
    """Turn an OSError into an UnrollError that says why a file cannot be written."""
    try:
        yield
    except OSError as error:
        raise UnrollError(
            f"{output} cannot be written: {error.strerror or error}; make room or correct the path, and run again"
        ) from error


def _replace(target: Path, parts: list[Path], total: Mapping[str, Any]) -> None:
    """Move the rows of all parts to one file, which is removed if there are none."""
    kept = [part for part in parts if part.exists()]
    if not kept:
        target.unlink(missing_ok=True)
        return
    whole = kept[0]
    if len(parts) > 1:
        whole = target.with_name(f"{kept[0].name}.joined")
        parts.append(whole)
        join(kept, whole, total)
    whole.replace(target)


def _ended(status: int) -> str:
    if status == OUT_OF_MEMORY:
        return "ran out of memory"
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
