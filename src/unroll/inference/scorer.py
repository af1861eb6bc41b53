"""What scores rows: a function from one record batch to another, through an ONNX graph."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.config.decoding import DecodingConfig
from unroll.errors import BundleError, DataError, ParameterError
from unroll.inference.batches import PRIVATE, usable
from unroll.inference.bundle import ORT_ERRORS, Bundle, open_session
from unroll.inference.columns import Context
from unroll.inference.decoding import resolve
from unroll.inference.feeds import NO_LIMIT, feed, pieces
from unroll.inference.interface import Columns

Cut = slice | NDArray[np.int64]
"""Rows of a batch that go through the graph together: a slice, or their places."""


class Scorer:
    """A bundle, ready to score record batches; pure: it reads and writes no files.

    Args:
        bundle: Verified.
        batch_rows: Rows of one call of the graph.
        decoding: Settings that replace the card's, of models that write.
        most_values: Of one call of the graph, padded, where rows vary in length; one row may have more.

    Raises:
        BundleError: onnxruntime cannot load the graph.
        ParameterError: `batch_rows` is less than 1, or the model cannot decode as asked.
    """

    def __init__(
        self,
        bundle: Bundle,
        batch_rows: int = 512,
        decoding: DecodingConfig | None = None,
        *,
        most_values: int = NO_LIMIT,
    ) -> None:
        if batch_rows < 1:
            raise ParameterError(f"batch_rows is {batch_rows}; it must be at least 1")
        self.bundle = bundle
        self.batch_rows = batch_rows
        self.decoding = resolve(bundle, decoding)
        self._values = most_values
        self._context = Context(bundle, self.decoding.n_best if self.decoding else 1)
        self._output = bundle.card.interface.output
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
        cuts = self.cuts(rows)
        return self.joined([self.score_piece(rows, cut) for cut in cuts], cuts, batch.schema)

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

    def cuts(self, batch: pa.RecordBatch) -> list[Cut]:
        """Rows of a batch, all of which can be scored, that go through the graph together."""
        return list(pieces(batch, self.batch_rows, self._values))

    def score_piece(self, batch: pa.RecordBatch, cut: Cut) -> pa.RecordBatch:
        """As `score`, of these rows alone; several may be under way at once."""
        batch = _taken(batch, cut)
        columns = self._output.columns(self.outputs(batch), batch, self._context)
        self._check_numbers(columns, batch)
        columns |= {name: batch.column(name) for name in batch.schema.names if name not in PRIVATE}
        columns["model_version"] = pa.repeat(pa.scalar(self.bundle.version), len(batch))
        schema = self.schema_of(batch.schema)
        arrays = [pa.array(columns[field.name], field.type, from_pandas=True) for field in schema]
        return pa.record_batch(arrays, schema=schema)

    def schema_of(self, batch: pa.Schema) -> pa.Schema:
        """Columns of the predictions for batches of a schema."""
        carried = [field for field in batch if field.name not in PRIVATE]
        return pa.schema([*carried, *self._output.fields(self._context), ("model_version", pa.string())])

    def joined(self, parts: Sequence[pa.RecordBatch], cuts: Sequence[Cut], batch: pa.Schema) -> pa.RecordBatch:
        """The pieces of a batch as one, in the batch's order."""
        if not parts:
            return pa.RecordBatch.from_pylist([], self.schema_of(batch))
        whole = parts[0] if len(parts) == 1 else pa.concat_batches(parts)
        order = [cut for cut in cuts if not isinstance(cut, slice)]
        return whole.take(pa.array(np.argsort(np.concatenate(order)))) if order else whole

    def _check_numbers(self, columns: Columns, batch: pa.RecordBatch) -> None:
        for name, kind in self._output.fields(self._context):
            if not pa.types.is_floating(kind) or name in self._output.nullable:
                continue
            finite = np.isfinite(columns[name])
            if not finite.all():
                row = int(finite.argmin())
                raise DataError(
                    f"{self.bundle.version} gives the {name} {columns[name][row]} for row "
                    f"{batch.column('row_id')[row]}; look for values in it that the model never saw"
                )


def _taken(batch: pa.RecordBatch, cut: Cut) -> pa.RecordBatch:
    if isinstance(cut, slice):
        return batch.slice(cut.start, cut.stop - cut.start)
    return batch.take(pa.array(cut))
