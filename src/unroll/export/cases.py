"""What ONNX and torch are both run on, to be held against each other."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unroll.config.decoding import DecodingConfig
from unroll.domains.task import Task
from unroll.errors import ExportError
from unroll.export.bundle import draws, takes_lengths
from unroll.export.onnx import LENGTHS, Feed
from unroll.features.random import uniforms
from unroll.models.decoding import decode
from unroll.training.batches import Batches
from unroll.training.inspection import PROMPT_STEPS

ROWS = 1000
"""Test rows, at most, evenly spaced."""
_BATCH = 100
"""Rows that are decoded side by side."""
_WRITTEN = 30
"""Tokens that are written at most, to hold the two against each other."""

Run = tuple[Feed, tuple[Tensor, ...]]


def example(task: Task, data: Batches) -> tuple[Tensor, Tensor | None]:
    """Inputs of two rows, to be traced, and their lengths where the graph takes them; two steps at least."""
    # Of a single row, twice the same: an axis of size 1 would be taken for a fixed one.
    two = torch.tensor([0, min(1, len(data) - 1)])
    inputs = data.inputs[two]
    if not takes_lengths(task):
        return inputs, None
    if data.lengths is None:
        inputs = inputs[:, : PROMPT_STEPS + 1]
        return inputs, torch.tensor([inputs.shape[1], inputs.shape[1] - 1])
    longest = max(2, int(data.lengths[two].max()))
    return inputs[:, :longest], data.lengths[two]


def runs(model: nn.Module, task: Task, data: Batches, *, free_time: bool) -> Iterator[Run]:
    """Inputs by name, and torch's outputs.

    Args:
        model: What was exported.
        task: What it has learned.
        data: Test rows.
        free_time: Whether the model takes sequences of other lengths than the samples'.
    """
    if task.output == "tokens":
        yield from _written(model, task, data)
        return
    for inputs, lengths in _shapes(task, data, free_time):
        feed: dict[str, Any] = {task.inputs.name: inputs.numpy()}
        if takes_lengths(task):
            lengths = torch.full((len(inputs),), inputs.shape[1]) if lengths is None else lengths
            feed[LENGTHS] = lengths.numpy()
        with torch.inference_mode():
            expected = model(inputs, lengths) if takes_lengths(task) else model(inputs)
        yield feed, expected if isinstance(expected, tuple) else (expected,)


def _shapes(task: Task, data: Batches, free_time: bool) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Test rows whole, and at batch and time sizes other than the traced ones."""
    whole = data.at(torch.arange(len(data)))
    yield whole.inputs, whole.lengths
    alone = data.at(torch.arange(1))
    yield alone.inputs, alone.lengths
    if not free_time:
        return
    if data.lengths is None:
        shorter = max(task.min_steps, whole.inputs.shape[1] // 2)
        yield whole.inputs[:7, -shorter:], None
        yield torch.cat([whole.inputs[:3], whole.inputs[:3]], dim=1), None
        return
    for position in (data.lengths.argmin(), data.lengths.argmax()):
        batch = data.at(position.reshape(1))
        yield batch.inputs, batch.lengths


def _written(model: Any, task: Task, data: Batches) -> Iterator[Run]:
    """Greedy and by search over all rows, one row alone, and drawn where tokens can be."""
    decoding = task.decoding or DecodingConfig()
    steps = min(decoding.max_length, _WRITTEN)
    beams = max(decoding.beams, 2)
    whole = list(torch.arange(len(data)).split(_BATCH))
    for index, width in [*((part, 1) for part in whole), *((part, beams) for part in whole), (torch.arange(1), beams)]:
        yield _one(model, task, data, index, steps, width, 0.0)
    if draws(task):
        yield _one(model, task, data, whole[0], steps, 3, 0.8)


def _one(model: Any, task: Task, data: Batches, index: Tensor, steps: int, beams: int, temperature: float) -> Run:
    batch = data.at(index)
    inputs, lengths = batch.inputs, batch.lengths
    if draws(task):
        # Prompts of one token and more.
        inputs = inputs[:, :PROMPT_STEPS]
        lengths = 1 + index % inputs.shape[1]
    elif takes_lengths(task) and lengths is None:
        lengths = torch.full((len(inputs),), inputs.shape[1])
    decoding = task.decoding or DecodingConfig()
    feed: dict[str, Any] = {
        task.inputs.name: inputs.numpy(),
        "max_length": np.array(steps),
        "beams": np.array(beams),
        "length_penalty": np.array(decoding.length_penalty, np.float32),
    }
    if takes_lengths(task):
        if lengths is None:
            raise ExportError(f"task {task.name!r} varies in length, but its samples have no lengths")
        feed[LENGTHS] = lengths.numpy()
    chance = uniforms(0, index.numpy(), beams, steps)
    if draws(task):
        feed |= {"temperature": np.array(temperature, np.float32), "top_k": np.array(decoding.top_k)}
        feed["uniforms"] = chance
    expected = decode(
        model,
        inputs,
        lengths,
        max_length=steps,
        beams=beams,
        length_penalty=decoding.length_penalty,
        temperature=temperature,
        top_k=decoding.top_k,
        uniforms=torch.from_numpy(chance),
    )
    return feed, expected
