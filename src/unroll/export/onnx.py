"""A network as one ONNX graph, and how far the two are apart."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import Tensor, nn

from unroll.domains.task import Task
from unroll.errors import ExportError
from unroll.export.recurrent import translation_table
from unroll.files import replacing

LENGTHS = "lengths"
"""Name of the input that says where sequences end."""
TOLERANCE = 1e-5
"""Largest difference between ONNX and torch, relative to the largest output where that is above 1."""


def export(
    network: nn.Module, task: Task, example: Tensor, lengths: Tensor | None, path: Path, *, free_time: bool
) -> None:
    """Writes a network as ONNX, batch (and time) left free.

    Args:
        network: In evaluation mode; raw inputs, and lengths where they vary → the task's outputs.
        task: Names inputs and outputs.
        example: Raw inputs [batch, time, feature], traced once.
        lengths: int64 [batch] of the example; None where the graph is to take none.
        path: Where the file goes.
        free_time: Whether the network takes sequences of other lengths.
    """
    axes = {0: torch.export.Dim("batch")}
    if free_time:
        axes[1] = torch.export.Dim("time", min=task.min_steps)
    names = [task.inputs.name] + ([LENGTHS] if lengths is not None else [])
    arguments, shapes = ((example,), (axes,)) if lengths is None else ((example, lengths), (axes, {0: axes[0]}))
    write_model(to_program(network, arguments, shapes, names, [spec.name for spec in task.outputs]), path)


def to_program(
    network: nn.Module,
    arguments: tuple[Any, ...],
    shapes: tuple[Any, ...],
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> ModelProto:
    """A module as an ONNX model.

    Args:
        network: In evaluation mode.
        arguments: Of one call, which is traced.
        shapes: For each argument, its free axes.
        inputs: Names; None leaves them to the exporter.
        outputs: Names; None leaves them to the exporter.
    """
    with _quiet():
        program = torch.onnx.export(
            network,
            arguments,
            dynamo=True,
            custom_translation_table=translation_table(),
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=shapes,
            verbose=False,
        )
    if program is None:
        raise ExportError("torch.onnx.export gave no program")
    model: ModelProto = program.model_proto
    # Where a node came from in our source tells nothing at run time, and differs from machine to machine.
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    return model


def write_model(model: ModelProto, path: Path) -> None:
    """Writes a model whole; equal models are equal bytes."""
    with replacing(path) as part:
        part.write_bytes(model.SerializeToString(deterministic=True))


Feed = Mapping[str, NDArray[Any]]


def parity(path: Path, outputs: Sequence[str], runs: Iterable[tuple[Feed, Sequence[Tensor]]]) -> dict[str, Any]:
    """Runs ONNX on inputs for which torch's outputs are known.

    Args:
        path: The ONNX file.
        outputs: Their names, in torch's order.
        runs: (inputs by name, torch's outputs), of batch and time sizes other than the traced ones too.

    Returns:
        max_abs_error over all float outputs, max_relative_error (over the largest output of each run, where above 1),
        differing_labels, rows, finite (whether all outputs are numbers), shapes_tried and passed.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    absolute = relative = 0.0
    differing, finite, rows = 0, True, 0
    shapes = []
    for feed, expected in runs:
        shape = list(next(iter(feed.values())).shape)
        shapes.append(shape)
        rows += shape[0]
        found = session.run(outputs, dict(feed))
        for ours, theirs in zip(found, (tensor.numpy() for tensor in expected), strict=True):
            if ours.shape != theirs.shape:
                raise ExportError(f"for inputs {shape} ONNX gives {ours.shape}, torch {theirs.shape}")
            if np.issubdtype(ours.dtype, np.integer):
                differing += int((ours != theirs).sum())
                continue
            finite &= bool(np.isfinite(ours).all() and np.isfinite(theirs).all())
            if not finite:
                continue
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


@contextlib.contextmanager
def _quiet() -> Any:
    """The exporter tells of packages it does without and of its own deprecations: nothing a reader can act on."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=".*will not be used, since it shares the same shape.*")
        warnings.filterwarnings("ignore", message=".*dynamic axes will not be renamed.*")
        yield
    exporter.setLevel(level)
