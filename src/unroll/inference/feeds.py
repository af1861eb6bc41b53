"""A batch of rows as the arrays that a graph takes: right-padded where rows vary in length."""

import math
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from unroll.config.decoding import DecodingConfig
from unroll.inference.card import Card
from unroll.inference.decoding import graph_inputs

NO_LIMIT = 1 << 62
Arrays = dict[str, NDArray[np.generic]]


def feed(batch: pa.RecordBatch, card: Card, decoding: DecodingConfig | None) -> Arrays:
    """Every input of the graph."""
    inputs: Arrays = {"inputs": _inputs(batch, card)}
    if card.takes_lengths:
        inputs["lengths"] = steps_of(batch, card)
    if decoding:
        numbers = batch.column("row").to_numpy() if "row" in batch.schema.names else np.arange(len(batch))
        inputs |= graph_inputs(decoding, {one.name for one in card.inputs}, numbers)
    return inputs


def pieces(batch: pa.RecordBatch, rows: int, values: int = NO_LIMIT) -> Iterator[NDArray[np.int64] | slice]:
    """Which rows go through the graph together, at most so many at once: neighbours, or rows of like length.

    Rows of varying length are of no more than `values` values together, padded ones included, or a row is alone.
    """
    column = batch.column("inputs")
    if pa.types.is_fixed_size_list(column.type):
        yield from (slice(start, start + rows) for start in range(0, len(batch), rows))
        return
    sizes = _sizes(column)
    order = np.argsort(sizes, kind="stable")
    start = 0
    while start < len(order):
        piece = order[start : start + rows]
        # The last one is the longest, to which the others are padded.
        padded = sizes[piece] * np.arange(1, len(piece) + 1)
        piece = piece[: max(1, int(np.searchsorted(padded, values, side="right")))]
        yield piece
        start += len(piece)


def steps_of(batch: pa.RecordBatch, card: Card) -> NDArray[np.int64]:
    """Time steps of each row, int64 [row]."""
    column = batch.column("inputs")
    width = math.prod(int(size) for size in card.entry.shape[2:])
    if pa.types.is_fixed_size_list(column.type):
        return np.full(len(batch), column.type.list_size // width)
    return _sizes(column) // width


def _inputs(batch: pa.RecordBatch, card: Card) -> NDArray[np.generic]:
    """Values [row, time, …], with zeros, or [PAD], after the end of a row."""
    column = batch.column("inputs")
    inner = [int(size) for size in card.entry.shape[2:]]
    # Arrow's values are used where they lie; flatten minds a slice's offset.
    values: NDArray[np.generic] = column.flatten().to_numpy()
    if pa.types.is_fixed_size_list(column.type):
        return values.reshape(len(batch), -1, *inner)
    steps = steps_of(batch, card)
    padded = np.zeros((len(batch), int(steps.max(initial=0)), *inner), values.dtype)
    padded[np.arange(padded.shape[1]) < steps[:, None]] = values.reshape(-1, *inner)
    return padded


def _sizes(column: pa.Array) -> NDArray[np.int64]:
    sizes: NDArray[np.int64] = pc.list_value_length(column).to_numpy().astype(np.int64)
    return sizes
