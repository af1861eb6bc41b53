"""Parity of ONNX and torch: both run on the same test rows, at other sizes than the traced ones."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unroll.config.decoding import DecodingConfig
from unroll.domains.task import Task
from unroll.errors import ExportError
from unroll.export.bundle import can_sample, graph_inputs, takes_lengths
from unroll.features.samples import PROMPT_STEPS
from unroll.inference.decoding import graph_inputs as decoding_inputs
from unroll.models.decoding import decode
from unroll.training.batches import Batches

ROWS = 1000
"""Maximum number of test rows to compare."""
TOLERANCE = 1e-5
"""Maximum difference, relative to the largest output where that is above 1."""
_DECODED_ROWS, _DECODED_BATCH, _SAMPLED_ROWS = 300, 100, 25
"""Maximum number of rows to decode greedily, to search for, which takes several times as long, and to sample for, which
also sorts the vocabulary at each step."""
_DECODED_STEPS = 30
"""Maximum number of tokens to decode."""

Feed = Mapping[str, NDArray[Any]]
Case = tuple[Feed, Sequence[Tensor]]
"""Inputs by name, and torch's outputs."""


def parity(path: Path, outputs: Sequence[str], cases: Iterable[Case]) -> dict[str, Any]:
    """Run ONNX on inputs of various sizes for which torch's outputs, in the order of `outputs`, are known.

    Returns:
        max_abs_error over all float outputs, max_relative_error (over the largest output of each case, where above 1),
        differing_labels, rows, finite (whether all outputs are finite numbers), shapes_tried and passed.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    absolute = relative = 0.0
    differing, finite, rows = 0, True, 0
    shapes = []
    for feed, expected in cases:
        shape = list(next(iter(feed.values())).shape)
        shapes.append(shape)
        rows += shape[0]
        found = session.run(outputs, dict(feed))
        for ours, theirs in zip(found, (tensor.numpy() for tensor in expected), strict=True):
            if ours.shape != theirs.shape:
                raise ExportError(f"for inputs {shape} ONNX returns {ours.shape}, torch {theirs.shape}")
            if np.issubdtype(ours.dtype, np.integer):
                differing += int((ours != theirs).sum())
                continue
            finite &= bool(np.isfinite(ours).all() and np.isfinite(theirs).all())
            if finite:
                error = float(np.abs(ours.astype(np.float64) - theirs).max())
                absolute = max(absolute, error)
                relative = max(relative, error / max(1.0, float(np.abs(theirs).max())))
    return {
        "max_abs_error": absolute,
        "max_relative_error": relative,
        "differing_labels": differing,
        "rows": rows,
        "finite": finite,
        "shapes_tried": shapes,
        "tolerance": TOLERANCE,
        "passed": bool(finite and relative <= TOLERANCE and differing == 0),
    }


def example(task: Task, data: Batches) -> tuple[Tensor, Tensor | None]:
    """Return example inputs to trace (two rows of at least two steps), and their lengths if the graph takes them."""
    # If there is one row only, it is used twice: the exporter takes an axis of size 1 for a fixed one.
    two = torch.tensor([0, min(1, len(data) - 1)])
    inputs = data.inputs[two]
    if not takes_lengths(task):
        return inputs, None
    if data.lengths is None:
        inputs = inputs[:, : PROMPT_STEPS + 1]
        return inputs, torch.tensor([inputs.shape[1], inputs.shape[1] - 1])
    longest = max(2, int(data.lengths[two].max()))
    return inputs[:, :longest], data.lengths[two]


def parity_cases(model: nn.Module, task: Task, data: Batches, *, dynamic_time: bool) -> Iterator[Case]:
    """Yield inputs made of test rows, and torch's outputs; with various lengths if the graph accepts them."""
    if task.output == "tokens":
        yield from _decoded_cases(model, task, data)
        return
    for inputs, lengths in _shapes(task, data, dynamic_time):
        feed: dict[str, Any] = {task.inputs.name: inputs.numpy()}
        if takes_lengths(task):
            lengths = torch.full((len(inputs),), inputs.shape[1]) if lengths is None else lengths
            feed["lengths"] = lengths.numpy()
        with torch.inference_mode():
            expected = model(inputs, lengths) if takes_lengths(task) else model(inputs)
        yield feed, expected if isinstance(expected, tuple) else (expected,)


def _shapes(task: Task, data: Batches, dynamic_time: bool) -> Iterator[tuple[Tensor, Tensor | None]]:
    whole = data.at(torch.arange(len(data)))
    yield whole.inputs, whole.lengths
    alone = data.at(torch.arange(1))
    yield alone.inputs, alone.lengths
    if not dynamic_time:
        return
    if data.lengths is None:
        shorter = max(task.min_steps, whole.inputs.shape[1] // 2)
        yield whole.inputs[:7, -shorter:], None
        yield torch.cat([whole.inputs[:3], whole.inputs[:3]], dim=1), None
        return
    for position in (data.lengths.argmin(), data.lengths.argmax()):
        batch = data.at(position.reshape(1))
        yield batch.inputs, batch.lengths


def _decoded_cases(model: Any, task: Task, data: Batches) -> Iterator[Case]:
    """Yield greedy decoding, beam search of a batch and of one row alone, and samples where the task has them."""
    decoding = task.decoding or DecodingConfig()
    decoding = decoding.model_copy(
        update={
            "max_length": min(decoding.max_length, _DECODED_STEPS),
            "beams": max(decoding.beams, 2),
            "temperature": 0.0,
        }
    )
    greedy = decoding.model_copy(update={"beams": 1})
    batches = torch.arange(min(len(data), _DECODED_ROWS)).split(_DECODED_BATCH)
    for part in batches:
        yield _decoded_case(model, task, data, part, greedy)
    yield _decoded_case(model, task, data, batches[0], decoding)
    yield _decoded_case(model, task, data, torch.arange(1), decoding)
    if can_sample(task):
        sampling = decoding.model_copy(update={"beams": 3, "temperature": 0.8})
        yield _decoded_case(model, task, data, batches[0][:_SAMPLED_ROWS], sampling)


def _decoded_case(model: Any, task: Task, data: Batches, index: Tensor, decoding: DecodingConfig) -> Case:
    batch = data.at(index)
    inputs, lengths = batch.inputs, batch.lengths
    if can_sample(task):
        # Prompts of one token and more.
        inputs = inputs[:, :PROMPT_STEPS]
        lengths = 1 + index % inputs.shape[1]
    elif takes_lengths(task) and lengths is None:
        lengths = torch.full((len(inputs),), inputs.shape[1])
    names = {spec.name for spec in graph_inputs(task, dynamic_time=True)}
    feed: dict[str, Any] = {task.inputs.name: inputs.numpy(), **decoding_inputs(decoding, names, index.numpy())}
    if lengths is not None:
        feed["lengths"] = lengths.numpy()
    expected = decode(
        model,
        inputs,
        lengths,
        max_length=decoding.max_length,
        beams=decoding.beams,
        length_penalty=decoding.length_penalty,
        temperature=decoding.temperature,
        top_k=decoding.top_k,
        uniforms=torch.from_numpy(feed["uniforms"]) if "uniforms" in feed else None,
    )
    return feed, expected
