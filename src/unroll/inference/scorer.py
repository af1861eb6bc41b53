"""Score rows: a function from one record batch to another, through an ONNX graph."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.config.decoding import DecodingConfig
from unroll.errors import BundleError, DataError
from unroll.inference.batches import INTERNAL, usable
from unroll.inference.bundle import ORT_ERRORS, Bundle, open_session
from unroll.inference.columns import Context
from unroll.inference.decoding import resolve
from unroll.inference.feeds import Piece, feed, pieces


class Scorer:
    """A bundle, ready to score record batches; pure: it reads and writes no files.

    Args:
        bundle: A verified bundle.
        batch_rows: Number of rows per call of the graph.
        decoding: Settings that replace the card's, for models that write text.

    Raises:
        BundleError: onnxruntime cannot load the graph.
        ParameterError: The model cannot decode as asked.
    """

    def __init__(self, bundle: Bundle, batch_rows: int = 512, decoding: DecodingConfig | None = None) -> None:
        self.bundle = bundle
        self.batch_rows = batch_rows
        self.decoding = resolve(bundle, decoding)
        self._context = Context(bundle, self.decoding.n_best if self.decoding else 1)
        self._output = bundle.card.interface.output
        self._session = open_session(bundle)

    def score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Score a batch of `batches.open_file`, or of any other size, without side effects.

        Returns:
            As many rows as can be scored, in the same order: row_id and what else the batch carries over (from prices
            ticker, last_date, date), prediction, score, what else the model gives (quantiles of the log return,
            n_best), and model_version. The score is the prediction's probability for classes, the labels' mean
            probability for labels in time, log probability / length^length_penalty for texts, and the predicted log
            return over the last known price for prices.

        Raises:
            DataError: The graph gives something that is not a finite number for a row.
            BundleError: onnxruntime cannot run the graph.
        """
        rows = usable(batch)
        parts = self.pieces(rows)
        return self.join([self.score_piece(rows, piece) for piece in parts], parts)

    def outputs(self, batch: pa.RecordBatch) -> dict[str, NDArray[Any]]:
        """Return the graph's outputs for all rows of a batch at once.

        Raises:
            BundleError: onnxruntime cannot run the graph.
        """
        names = [tensor.name for tensor in self.bundle.card.outputs]
        try:
            found = self._session.run(names, feed(batch, self.bundle.card, self.decoding))
        except ORT_ERRORS as error:
            raise BundleError(f"{self.bundle.model} cannot be run: {' '.join(str(error).split())}") from error
        return dict(zip(names, found, strict=True))

    def pieces(self, batch: pa.RecordBatch) -> list[Piece]:
        """Return which rows of a batch go through the graph together; every row must be usable."""
        return list(pieces(batch, self.bundle.card, self.batch_rows))

    def score_piece(self, batch: pa.RecordBatch, piece: Piece) -> pa.RecordBatch:
        """Score these rows alone, as `score` does; several calls may be under way at once."""
        batch = _rows_of(batch, piece)
        columns = self._output.columns(self.outputs(batch), batch, self._context)
        for name, column in columns.items():
            if pa.types.is_floating(column.type) and name not in self._output.nullable:
                self._check_finite(name, column.to_numpy(), batch)
        carried = {name: batch.column(name) for name in batch.schema.names if name not in INTERNAL}
        version = pa.repeat(pa.scalar(self.bundle.version), len(batch))
        return pa.record_batch({**carried, **columns, "model_version": version})

    def join(self, parts: Sequence[pa.RecordBatch], rows: Sequence[Piece]) -> pa.RecordBatch:
        """Return the scored pieces of a batch as one, in the batch's order; without pieces, it has no columns."""
        if not parts:
            return pa.RecordBatch.from_pylist([], pa.schema([]))
        whole = parts[0] if len(parts) == 1 else pa.concat_batches(parts)
        order = [piece for piece in rows if not isinstance(piece, slice)]
        return whole.take(pa.array(np.argsort(np.concatenate(order)))) if order else whole

    def _check_finite(self, name: str, values: NDArray[Any], batch: pa.RecordBatch) -> None:
        finite = np.isfinite(values)
        if not finite.all():
            row = int(finite.argmin())
            raise DataError(
                f"{self.bundle.version} gives the {name} {values[row]} for row {batch.column('row_id')[row]}; "
                "look for values in it that the model never saw"
            )


def _rows_of(batch: pa.RecordBatch, piece: Piece) -> pa.RecordBatch:
    if isinstance(piece, slice):
        return batch.slice(piece.start, piece.stop - piece.start)
    return batch.take(pa.array(piece))
