"""Samples as the rows that a bundle scores: what training and test splits have, in the form that readers give."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.features.samples import Index, Tensors
from unroll.features.special_tokens import PAD
from unroll.inference.card import Card, TextInput, stated


def is_prompted(card: Card) -> bool:
    """Whether the model goes on with a prompt."""
    return card.text is not None and card.text.column == "prompt"


def rows_of(tensors: Tensors, index: Index, card: Card, *, prompt_steps: int | None = None) -> pa.RecordBatch:
    """Samples as a batch that a reader could have given: row_id, inputs, and of prices last_price.

    Args:
        tensors: `inputs` [sample, time, …], `lengths` where they vary, `last` of prices.
        index: Which samples; their places become the row ids.
        card: Of the model that reads them.
        prompt_steps: A model that goes on with a prompt gets so many tokens of each sample, at most; None: all.
    """
    inputs = tensors["inputs"][index]
    columns = {"row_id": pa.array(index)}
    if card.prices:
        last = tensors["last"][index].astype(np.float64)
        columns["last_price"] = pa.array(last[:, -1] if last.ndim == 2 else last)
    if "lengths" in tensors:
        lengths = tensors["lengths"][index]
    elif card.text:
        lengths = (inputs != PAD).sum(axis=1)
    else:
        flat = pa.array(np.ascontiguousarray(inputs).reshape(-1))
        return pa.record_batch(columns | {"inputs": pa.FixedSizeListArray.from_arrays(flat, inputs[0].size)})
    if is_prompted(card):
        inputs, lengths = _as_prompts(inputs, lengths, stated(card.text), prompt_steps or inputs.shape[1])
    inside = np.arange(inputs.shape[1]) < lengths[:, None]
    ends = np.concatenate([[0], np.cumsum(lengths)]) * int(np.prod(inputs.shape[2:], dtype=np.int64))
    values = pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), pa.array(inputs[inside].reshape(-1)))
    return pa.record_batch(columns | {"inputs": values})


def _as_prompts(
    inputs: NDArray[Any], lengths: NDArray[np.int64], spec: TextInput, most: int
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The first tokens of each sample, so many at most, after the one that stands before every text."""
    before = spec.first_token
    if before is None or (inputs[:, 0] == before).all():
        return inputs[:, : most + 1], np.minimum(lengths, most + 1)
    return np.insert(inputs[:, :most], 0, before, axis=1), np.minimum(lengths, most) + 1
