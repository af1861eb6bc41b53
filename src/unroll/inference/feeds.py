"""A batch of rows as the arrays that a graph takes: right-padded if rows vary in length."""

import math
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from unroll.config.decoding import DecodingConfig
from unroll.inference.card import Card
from unroll.inference.decoding import graph_inputs

Piece = slice | NDArray[np.int64]
"""Rows of a batch that go through the graph together: a slice, or their places."""
_PIECE_STEPS = 1 << 14
"""Time steps of a call of the graph: an LSTM of 256 units in both directions takes 16 kB for each of them."""
_WRITTEN_ROWS = 64
"""Rows of a call of a graph that writes text: each becomes several hypotheses, with all of the vocabulary at a step."""


def feed(batch: pa.RecordBatch, card: Card, decoding: DecodingConfig | None) -> dict[str, NDArray[np.generic]]:
    """Return every input of the graph, by name."""
    inputs = {"inputs": _inputs(batch, card)}
    if card.takes_lengths:
        inputs["lengths"] = steps_of(batch, card)
    if decoding:
        numbers = batch.column("row").to_numpy() if "row" in batch.schema.names else np.arange(len(batch))
        inputs |= graph_inputs(decoding, {one.name for one in card.inputs}, numbers)
    return inputs


def pieces(batch: pa.RecordBatch, card: Card, rows: int) -> Iterator[Piece]:
    """Yield the rows that go through the graph together: at most `rows`, and no more than fit into memory.

    Rows of one length are cut in order. Rows of varying length are sorted by it; a piece has at most 16,384 time
    steps, padding included, unless it is a single row.
    """
    if card.decoding:
        rows = min(rows, _WRITTEN_ROWS)
    if pa.types.is_fixed_size_list(batch.column("inputs").type):
        yield from (slice(start, start + rows) for start in range(0, len(batch), rows))
        return
    steps = steps_of(batch, card)
    order = np.argsort(steps, kind="stable")
    start = 0
    while start < len(order):
        piece = order[start : start + rows]
        # The last one is the longest, to which the others are padded.
        padded = steps[piece] * np.arange(1, len(piece) + 1)
        piece = piece[: max(1, int(np.searchsorted(padded, _PIECE_STEPS, side="right")))]
        yield piece
        start += len(piece)


def steps_of(batch: pa.RecordBatch, card: Card) -> NDArray[np.int64]:
    """Return each row's number of time steps, int64 [row]."""
    column = batch.column("inputs")
    width = math.prod(int(size) for size in card.entry.shape[2:])
    if pa.types.is_fixed_size_list(column.type):
        return np.full(len(batch), column.type.list_size // width)
    sizes: NDArray[np.int64] = pc.list_value_length(column).to_numpy().astype(np.int64)
    return sizes // width


def _inputs(batch: pa.RecordBatch, card: Card) -> NDArray[np.generic]:
    """Return values [row, time, …], padded with zeros or [PAD] after the end of a row."""
    column = batch.column("inputs")
    inner = [int(size) for size in card.entry.shape[2:]]
    # Arrow's values are not copied; flatten minds a slice's offset.
    values: NDArray[np.generic] = column.flatten().to_numpy()
    if pa.types.is_fixed_size_list(column.type):
        return values.reshape(len(batch), -1, *inner)
    steps = steps_of(batch, card)
    padded = np.zeros((len(batch), int(steps.max(initial=0)), *inner), values.dtype)
    padded[np.arange(padded.shape[1]) < steps[:, None]] = values.reshape(-1, *inner)
    return padded
