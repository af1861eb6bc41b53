"""Batch prediction: a file through an ONNX graph, as a stream, into a Parquet file of predictions."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.errors import BundleError, DataError, ParameterError, UnrollError
from unroll.files import replacing
from unroll.inference.answers import DECODERS, Columns, Context
from unroll.inference.batches import PRIVATE, Check, checked, count_cut, set_aside, usable, within
from unroll.inference.bundle import ORT_ERRORS, Bundle, open_session
from unroll.inference.decoding import Wishes, settled
from unroll.inference.feeds import feed, pieces
from unroll.inference.readers import open_file
from unroll.inference.writing import RowFile

_NO_WISHES = Wishes()
_LEAST_MB = 256
_Cut = slice | NDArray[np.int64]
"""Rows of a piece: a slice, or their places."""
Watch = Callable[[pa.RecordBatch, pa.RecordBatch], None]
"""Is shown (rows as the reader gives them, their predictions), as many of the one as of the other, in their order."""


@dataclass(frozen=True)
class SetAside:
    """Rows of a file that could not be scored while the others were.

    Attributes:
        rows: How many.
        output: Parquet file of row_id, text (where rows are texts) and reason.
        first: Id of the first, and its reason.
    """

    rows: int
    output: Path
    first: str


@dataclass(frozen=True)
class Scored:
    """One file's predictions."""

    source: Path
    output: Path
    rows: int
    rows_in: int
    """Rows of the source: those of `rows`, and those that were set aside."""
    set_aside: SetAside | None = None
    cut: int = 0
    """Rows of which the model has read the beginning alone."""

    def notes(self) -> list[str]:
        """What is to be said besides the number of rows, a line each."""
        found = []
        if self.set_aside:
            one = self.set_aside
            found.append(f"{one.rows:,} rows set aside in {one.output}; the first is {one.first}")
        if self.cut:
            found.append(f"{self.cut:,} rows cut to the length that the model reads")
        return found


class Scorer:
    """A bundle, ready to score.

    Args:
        bundle: Verified.
        threads: Batches of a file that are scored at once, each by one thread.
        batch_rows: Rows of one call of the graph.
        wishes: How a model that writes is to do so, where not as its card says.
        memory_mb: What the process may take, in MiB: bounds the rows that are held for a check and the padded values of
            one call of the graph. A row that alone is too long for it is set aside.
        check: Is given rows of a file that could be scored, many at a time, and says which of them may not be, and why;
            these are set aside with those that the reader sets aside.
        watch: Is shown the rows of a file that were scored and their predictions, batch by batch.

    Raises:
        BundleError: onnxruntime cannot load the graph.
        ParameterError: `threads` or `batch_rows` is less than 1, `memory_mb` less than 256, or a wish cannot be
            fulfilled.
    """

    def __init__(
        self,
        bundle: Bundle,
        threads: int = 2,
        batch_rows: int = 512,
        wishes: Wishes = _NO_WISHES,
        *,
        memory_mb: int = 1024,
        check: Check | None = None,
        watch: Watch | None = None,
    ) -> None:
        if threads < 1 or batch_rows < 1:
            raise ParameterError(f"threads is {threads} and batch_rows is {batch_rows}; both must be at least 1")
        if memory_mb < _LEAST_MB:
            raise ParameterError(f"memory_mb is {memory_mb}; a model and its libraries need at least {_LEAST_MB}")
        self.bundle = bundle
        self.batch_rows = batch_rows
        self.decoding = settled(bundle, wishes)
        self._threads = threads
        self._check, self._watch = check, watch
        # A sixteenth for the rows of a check; another for the inputs of all pieces that are under way, 8 bytes a value.
        self._held = (memory_mb << 20) // 16
        self._values = self._held // (8 * (threads + 2))
        self._context = Context(bundle, self.decoding.n_best if self.decoding else 0)
        self._decoder = DECODERS[bundle.card.kind.answer]
        # One thread a call and several calls at once are faster for small networks than several threads a call, and
        # the number of threads does not change what comes out.
        self._session = open_session(bundle, threads=1)

    def score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Scores a batch as `readers.open_file` gives it; pure, whatever its size.

        Returns:
            As many rows as can be scored, in the same order: row_id and what else the batch carries over (of prices
            ticker, last_date, date), prediction, score, what else the model gives (quantiles of the log return,
            n_best), and model_version. Scores: of classes the prediction's probability, of labels in time their mean
            probability, of texts log probability / length^length_penalty, of prices the predicted log return over the
            last known price.

        Raises:
            DataError: The graph gives something that is no finite number for a row.
            BundleError: onnxruntime cannot run the graph.
        """
        rows = usable(batch)
        cuts = list(pieces(rows, self.batch_rows, self._values))
        return self._joined([self._score(_taken(rows, cut)) for cut in cuts], cuts, batch.schema)

    def outputs(self, batch: pa.RecordBatch) -> dict[str, NDArray[Any]]:
        """What the graph gives for all rows of a batch at once.

        Raises:
            BundleError: onnxruntime cannot run the graph.
        """
        names = [tensor.name for tensor in self.bundle.card.outputs]
        try:
            found = self._session.run(names, feed(batch, self.bundle.card, self.decoding))
        except ORT_ERRORS as error:
            raise BundleError(f"{self.bundle.model} cannot be run: {' '.join(str(error).split())}") from error
        return dict(zip(names, found, strict=True))

    def score_file(
        self,
        source: Path,
        output: Path,
        *,
        quarantine: Path,
        note: Mapping[str, Any],
        max_bad_share: float = 1.0,
        before_move: Callable[[], None] | None = None,
    ) -> Scored:
        """Scores a file as a stream and moves its predictions into place whole.

        Args:
            source: Of a form that the model's reader takes.
            output: Where the Parquet file goes; one that is there is replaced.
            quarantine: Where the rows go that cannot be scored; where there are none, a file that is there goes away.
            note: What else to keep in the output's metadata.
            max_bad_share: Of the file's rows, so many may go to quarantine, at most.
            before_move: Called when all rows are written; what it raises keeps both files from their places.

        Raises:
            DataError: The file, or every row of it, or too large a share of its rows, cannot be scored.
            UnrollError: An output cannot be written.
        """
        reading = open_file(source, self.bundle, self.batch_rows)
        batches = checked(within(reading.batches, self._values), self._check, self._held)
        try:
            with ExitStack() as files:
                # Moved into place when the block ends, the last one first.
                kept = files.enter_context(RowFile(files.enter_context(replacing(output))))
                aside: RowFile | None = None
                first, read, cut = "", 0, 0
                for batch, scored in self._side_by_side(batches):
                    read += len(batch)
                    cut += count_cut(batch)
                    kept.write(scored)
                    if self._watch and len(scored):
                        self._watch(usable(batch), scored)
                    refused = set_aside(batch)
                    if not len(refused):
                        continue
                    if aside is None:
                        aside = files.enter_context(RowFile(files.enter_context(replacing(quarantine))))
                        first = f"{refused['row_id'][0]}: {refused['reason'][0]}"
                    aside.write(refused)
                counts = {"rows": kept.rows, "set_aside": aside.rows if aside else 0}
                if not kept.rows:
                    raise DataError(f"{source}: none of {read:,} rows can be scored; the first is {first}")
                if counts["set_aside"] > max_bad_share * read:
                    raise DataError(
                        f"{source}: {counts['set_aside']:,} of {read:,} rows cannot be scored, more than the share of "
                        f"{max_bad_share:g} that may be set aside; the first is {first}"
                    )
                if sum(counts.values()) != read:
                    raise UnrollError(f"{source}: {read:,} rows were read, but {counts}; this is a fault of unroll's")
                about = {**self._about(), **note, **counts, "cut": cut}
                for file in (kept, aside):
                    if file:
                        file.finish(about)
                if before_move:
                    before_move()
            if not aside:
                quarantine.unlink(missing_ok=True)
        except OSError as error:
            # Readers turn their own OSError into a FormatError: what comes here is the output's.
            raise UnrollError(
                f"{output} cannot be written: {error.strerror or error}; make room or fix it, and run again"
            ) from error
        found = SetAside(aside.rows, quarantine, first) if aside else None
        return Scored(source, output, kept.rows, read, found, cut)

    def _side_by_side(self, batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
        """Batches with their predictions; as many pieces at once as there are threads, while this thread reads on."""
        if self._threads == 1:
            yield from ((batch, self.score(batch)) for batch in batches)
            return
        with ThreadPoolExecutor(self._threads) as pool:
            running: deque[tuple[pa.RecordBatch, list[_Cut], list[Future[pa.RecordBatch]]]] = deque()

            def ended() -> tuple[pa.RecordBatch, pa.RecordBatch]:
                batch, cuts, parts = running.popleft()
                return batch, self._joined([part.result() for part in parts], cuts, batch.schema)

            try:
                for batch in batches:
                    rows = usable(batch)
                    cuts = list(pieces(rows, self.batch_rows, self._values))
                    parts = [pool.submit(self._score, _taken(rows, cut)) for cut in cuts]
                    running.append((batch, cuts, parts))
                    # One piece more than threads, so that none waits for the reader; no more, for memory's sake.
                    while sum(len(parts) for _, _, parts in list(running)[1:]) > self._threads:
                        yield ended()
                while running:
                    yield ended()
            finally:
                pool.shutdown(cancel_futures=True)

    def _score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = self._decoder.columns(self.outputs(batch), batch, self._context)
        self._check_numbers(columns, batch)
        columns |= {name: batch.column(name) for name in batch.schema.names if name not in PRIVATE}
        columns["model_version"] = pa.repeat(pa.scalar(self.bundle.version), len(batch))
        schema = self.schema_of(batch.schema)
        arrays = [pa.array(columns[field.name], field.type, from_pandas=True) for field in schema]
        return pa.record_batch(arrays, schema=schema)

    def schema_of(self, batch: pa.Schema) -> pa.Schema:
        """Columns of the predictions for batches of a schema."""
        carried = [field for field in batch if field.name not in PRIVATE]
        return pa.schema([*carried, *self._decoder.fields(self._context), ("model_version", pa.string())])

    def _joined(self, parts: Sequence[pa.RecordBatch], cuts: Sequence[_Cut], batch: pa.Schema) -> pa.RecordBatch:
        """The pieces of a batch as one, in the batch's order."""
        if not parts:
            return pa.RecordBatch.from_pylist([], self.schema_of(batch))
        whole = parts[0] if len(parts) == 1 else pa.concat_batches(parts)
        order = [cut for cut in cuts if not isinstance(cut, slice)]
        return whole.take(pa.array(np.argsort(np.concatenate(order)))) if order else whole

    def _check_numbers(self, columns: Columns, batch: pa.RecordBatch) -> None:
        for name, kind in self._decoder.fields(self._context):
            if not pa.types.is_floating(kind) or name in self._decoder.may_lack:
                continue
            finite = np.isfinite(columns[name])
            if not finite.all():
                row = int(finite.argmin())
                raise DataError(
                    f"{self.bundle.version} gives the {name} {columns[name][row]} for row "
                    f"{batch.column('row_id')[row]}; look for values in it that the model never saw"
                )

    def _about(self) -> dict[str, Any]:
        """What a file of predictions tells of itself."""
        card = self.bundle.card
        about = {
            "model_version": self.bundle.version,
            "model_sha256": self.bundle.sha256,
            "task": card.task.model_dump(),
            "data": card.data,
            "metrics": card.metrics,
            "provenance": self.bundle.provenance,
        }
        return about | ({"decoding": vars(self.decoding)} if self.decoding else {})


def _taken(batch: pa.RecordBatch, cut: _Cut) -> pa.RecordBatch:
    if isinstance(cut, slice):
        return batch.slice(cut.start, cut.stop - cut.start)
    return batch.take(pa.array(cut))
