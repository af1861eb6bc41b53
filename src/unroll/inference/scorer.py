"""Batch prediction: record batches through an ONNX graph, files in, Parquet files out."""

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unroll.errors import BundleError, DataError, ParameterError, UnrollError
from unroll.files import replacing
from unroll.inference.bundle import ORT_ERRORS, Bundle, Card, load_bundle, open_session
from unroll.inference.prices import Skipped
from unroll.inference.readers import kind_of, open_file, stem_of

METADATA_KEY = b"unroll"
"""Of a predictions file's schema: JSON with the model's version, provenance and data, and what was scored."""
_GROUP_ROWS = 1 << 16
"""Rows of a row group of the output: few enough to hold, enough to compress."""


@dataclass(frozen=True)
class Scored:
    """One file's predictions."""

    source: Path
    output: Path
    rows: int
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class Summary:
    """What `predict` did."""

    files: tuple[Scored, ...]
    rows: int
    seconds: float
    model_version: str

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What could not be scored, of all files."""
        return tuple(one for scored in self.files for one in scored.skipped)


class Scorer:
    """A bundle, ready to score.

    Args:
        bundle: Verified.
        threads: Batches of a file that are scored at once, each by one thread.
        batch_rows: Rows of one call of the graph.

    Raises:
        BundleError: onnxruntime cannot load the graph.
        ParameterError: `threads` or `batch_rows` is less than 1.
    """

    def __init__(self, bundle: Bundle, threads: int = 2, batch_rows: int = 512) -> None:
        if threads < 1 or batch_rows < 1:
            raise ParameterError(f"threads is {threads} and batch_rows is {batch_rows}; both must be at least 1")
        self.bundle = bundle
        self.batch_rows = batch_rows
        self.schema = _schema(bundle.card)
        self._threads = threads
        # One thread a call and several calls at once are faster for small networks than several threads a call, and
        # the number of threads does not change what comes out.
        self._session = open_session(bundle, threads=1)

    def score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Scores a batch as `readers.open_file` gives it; pure, whatever its size.

        Returns:
            As many rows, in the same order, of `self.schema`: row_id, prediction, score (digits: the prediction's
            probability; prices: the predicted log return over the last known price), model_version, and for prices
            ticker, last_date, date and, where the model gives them, quantiles of the log return.

        Raises:
            DataError: The graph gives something that is no finite number for a row.
            BundleError: onnxruntime cannot run the graph.
        """
        starts = range(0, batch.num_rows, self.batch_rows)
        parts = [self._score(batch.slice(start, self.batch_rows)) for start in starts]
        if len(parts) == 1:
            return parts[0]
        return pa.concat_batches(parts) if parts else pa.RecordBatch.from_pylist([], self.schema)

    def score_file(
        self, source: Path, output: Path, *, note: Mapping[str, Any], before_move: Callable[[], None] | None = None
    ) -> Scored:
        """Scores a file as a stream and moves its predictions into place whole.

        Args:
            source: Parquet, CSV or IDX.
            output: Where the Parquet file goes; one that is there is replaced.
            note: What else to keep in the output's metadata.
            before_move: Called when all rows are written; what it raises keeps the output from its place.

        Raises:
            DataError: The file, or every part of it, cannot be scored.
            UnrollError: The output cannot be written.
        """
        reading = open_file(source, self.bundle.card, self.batch_rows)
        try:
            with replacing(output) as part:
                with part.open("wb") as file:
                    rows = self._write(file, reading.batches, note)
                    file.flush()
                    os.fsync(file.fileno())
                if before_move:
                    before_move()
        except OSError as error:
            # Readers turn their own OSError into a FormatError: what comes here is the output's.
            raise UnrollError(
                f"{output} cannot be written: {error.strerror or error}; make room or fix it, and run again"
            ) from error
        return Scored(source, output, rows, reading.skipped)

    def _write(self, file: BinaryIO, batches: Iterator[pa.RecordBatch], note: Mapping[str, Any]) -> int:
        """Scores all batches into an open file; gives the number of rows."""
        schema = self._output_schema(note)
        rows = held = 0
        waiting: list[pa.RecordBatch] = []
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for scored in self._side_by_side(batches):
                waiting.append(scored)
                held += scored.num_rows
                if held >= _GROUP_ROWS:
                    writer.write_table(_table(waiting, schema))
                    rows, held, waiting = rows + held, 0, []
            if waiting:
                writer.write_table(_table(waiting, schema))
        return rows + held

    def _side_by_side(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Scores as many batches at once as there are threads, while this thread reads on; the order is kept."""
        if self._threads == 1:
            yield from map(self.score, batches)
            return
        with ThreadPoolExecutor(self._threads) as pool:
            running: deque[Future[pa.RecordBatch]] = deque()
            try:
                for batch in batches:
                    running.append(pool.submit(self.score, batch))
                    # One batch more than threads, so that none waits for the reader; no more, for memory's sake.
                    if len(running) > self._threads + 1:
                        yield running.popleft().result()
                while running:
                    yield running.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        card = self.bundle.card
        entry = card.inputs[0]
        # Arrow's values are used where they lie; flatten minds a slice's offset.
        values = batch.column("inputs").flatten().to_numpy().reshape(batch.num_rows, -1, entry.shape[2])
        names = [tensor.name for tensor in card.outputs]
        try:
            outputs = dict(zip(names, self._session.run(names, {entry.name: values}), strict=True))
        except ORT_ERRORS as error:
            raise BundleError(f"{self.bundle.model} cannot be run: {' '.join(str(error).split())}") from error
        columns = {name: batch.column(name) for name in self.schema.names if name in batch.schema.names}
        columns |= _digits(outputs) if card.reader == "digits" else _prices(outputs, batch, card)
        columns["model_version"] = pa.repeat(pa.scalar(self.bundle.version), batch.num_rows)
        for field in self.schema:
            # Of prices, the score is made from the prediction, and empty where that is no positive number.
            if not pa.types.is_floating(field.type) or (card.reader == "prices" and field.name == "score"):
                continue
            usable = np.isfinite(columns[field.name])
            if not usable.all():
                row = int(usable.argmin())
                raise DataError(
                    f"{self.bundle.version} gives the {field.name} {columns[field.name][row]} for row "
                    f"{batch.column('row_id')[row]}; look for values in it that the model never saw"
                )
        arrays = [pa.array(columns[f.name], f.type, from_pandas=True) for f in self.schema]
        return pa.record_batch(arrays, schema=self.schema)

    def _output_schema(self, note: Mapping[str, Any]) -> pa.Schema:
        card = self.bundle.card
        about = {
            "model_version": self.bundle.version,
            "model_sha256": self.bundle.sha256,
            "task": card.task.model_dump(),
            "data": card.data,
            "provenance": self.bundle.provenance,
            **note,
        }
        return self.schema.with_metadata({METADATA_KEY: json.dumps(about, sort_keys=True).encode()})


def predict(model: Path, source: Path, output_dir: Path, *, batch_rows: int = 512, threads: int = 2) -> Summary:
    """Scores a file, or every file of a folder, into `output_dir`/STEM.parquet.

    Args:
        model: The bundle, or the model's folder that holds it.
        source: Parquet, CSV or IDX; of a folder, hidden files and folders are left out.
        output_dir: Made if missing.
        batch_rows: Rows of one call of the graph.
        threads: Batches scored at once.

    Raises:
        BundleError: The bundle is incomplete or altered.
        DataError: A file cannot be scored; the predictions of those before it are kept.
        UnrollError: An output cannot be written.
    """
    start = time.perf_counter()
    scorer = Scorer(load_bundle(model), threads, batch_rows)
    files = tuple(
        scorer.score_file(path, output, note={"source": path.name}) for path, output in _outputs(source, output_dir)
    )
    return Summary(
        files=files,
        rows=sum(one.rows for one in files),
        seconds=time.perf_counter() - start,
        model_version=scorer.bundle.version,
    )


def _outputs(source: Path, output_dir: Path) -> Sequence[tuple[Path, Path]]:
    """Pairs each file with its output, before any is scored."""
    if source.is_dir():
        files = sorted(path for path in source.iterdir() if path.is_file() and not path.name.startswith("."))
        if not files:
            raise DataError(f"{source} holds no files; expected Parquet, CSV or IDX")
    elif source.exists():
        files = [source]
    else:
        raise DataError(f"{source} is not there; give a file or a folder of Parquet, CSV or IDX")
    pairs: dict[Path, Path] = {}
    for path in files:
        kind_of(path)
        output = output_dir / f"{stem_of(path.name)}.parquet"
        if output in pairs:
            raise DataError(f"{pairs[output]} and {path} would both be written to {output}; rename one of them")
        pairs[output] = path
    taken = {path.resolve() for path in files}
    for output, path in pairs.items():
        if output.resolve() in taken:
            raise DataError(f"the predictions of {path} would replace the input {output}; choose another output folder")
    return [(path, output) for output, path in pairs.items()]


def _table(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_batches(batches).replace_schema_metadata(schema.metadata)


def _schema(card: Card) -> pa.Schema:
    if card.reader == "digits":
        about = [("row_id", pa.int64()), ("prediction", pa.int64())]
    else:
        about = [("row_id", pa.string()), ("ticker", pa.string()), ("last_date", pa.date32()), ("date", pa.date32())]
        about.append(("prediction", pa.float64()))
    quantiles = [(_quantile_name(level), pa.float32()) for level in card.quantiles or ()]
    return pa.schema([*about, ("score", pa.float32()), *quantiles, ("model_version", pa.string())])


def _quantile_name(level: float) -> str:
    """`q10` for 0.1, `q2.5` for 0.025."""
    return f"q{round(100 * level, 6):g}"


def _digits(outputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    labels, probabilities = outputs["label"], outputs["probabilities"]  # [batch], [batch, 10]
    return {"prediction": labels, "score": np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]}


def _prices(outputs: Mapping[str, np.ndarray], batch: pa.RecordBatch, card: Card) -> dict[str, Any]:
    last = batch.column("last_price").to_numpy()  # [batch]
    if card.quantiles is not None:
        quantiles = outputs["log_return_quantiles"]  # [batch, Q]
        median = quantiles[:, card.quantiles.index(0.5)]
        columns = {_quantile_name(level): quantiles[:, i] for i, level in enumerate(card.quantiles)}
        with np.errstate(over="ignore"):
            return columns | {"prediction": last * np.exp(median.astype(np.float64)), "score": median}
    prices = outputs["price"].astype(np.float64)
    prices = prices[:, -1] if prices.ndim == 2 else prices  # of every step, the last one is the next day's
    # A price that is not positive has no log return: its score is left empty.
    ratio = np.divide(prices, last, out=np.full_like(last, np.nan), where=prices > 0)
    return {"prediction": prices, "score": np.log(ratio).astype(np.float32)}
