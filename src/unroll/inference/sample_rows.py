"""Samples as the rows that a bundle scores: training and test rows in the form that readers return."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.features.samples import Index, Tensors
from unroll.features.special_tokens import PAD
from unroll.inference.card import Card, TextInput, required


def takes_prompts(card: Card) -> bool:
    """Return whether the model continues a prompt."""
    return card.interface.verb == "generate"


def sample_rows(tensors: Tensors, index: Index, card: Card, *, prompt_steps: int | None = None) -> pa.RecordBatch:
    """Return samples as a batch that a reader could have returned: row_id, inputs, and for prices last_price.

    Args:
        tensors: `inputs` [sample, time, …], `lengths` where they vary, `last` for prices.
        index: Positions of the samples, which become the row ids.
        card: Card of the model that scores them.
        prompt_steps: Maximum number of tokens of a prompt, for a model that continues prompts; None for all.
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
    if takes_prompts(card):
        inputs, lengths = _as_prompts(inputs, lengths, required(card.text), prompt_steps or inputs.shape[1])
    if card.text:
        inputs = inputs.astype(np.int64)
    inside = np.arange(inputs.shape[1]) < lengths[:, None]
    ends = np.concatenate([[0], np.cumsum(lengths)]) * int(np.prod(inputs.shape[2:], dtype=np.int64))
    values = pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), pa.array(inputs[inside].reshape(-1)))
    return pa.record_batch(columns | {"inputs": values})


def _as_prompts(
    inputs: NDArray[Any], lengths: NDArray[np.int64], spec: TextInput, steps: int
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the first tokens of each sample, after the token that precedes every text."""
    first = spec.first_token
    if first is None or (inputs[:, 0] == first).all():
        return inputs[:, : steps + 1], np.minimum(lengths, steps + 1)
    return np.insert(inputs[:, :steps], 0, first, axis=1), np.minimum(lengths, steps) + 1
