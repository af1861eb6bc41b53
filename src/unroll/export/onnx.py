"""A network as one ONNX graph, and how far the two are apart."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from unroll.errors import ExportError
from unroll.export.recurrent import translation_table
from unroll.files import replacing
from unroll.tasks.task import Task

TOLERANCE = 1e-5
"""Largest difference between ONNX and torch, relative to the largest output where that is above 1."""


def export(network: nn.Module, task: Task, example: Tensor, path: Path, *, free_time: bool) -> None:
    """Writes a network as ONNX, batch (and time) left free.

    Args:
        network: In evaluation mode; raw inputs → the task's outputs.
        task: Names inputs and outputs.
        example: Raw inputs [batch, time, feature], traced once.
        path: Where the file goes.
        free_time: Whether the network takes sequences of other lengths.
    """
    axes = {0: torch.export.Dim("batch")}
    if free_time:
        axes[1] = torch.export.Dim("time", min=task.least_steps)
    with _quiet():
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            custom_translation_table=translation_table(),
            input_names=[task.inputs.name],
            output_names=[spec.name for spec in task.outputs],
            dynamic_shapes=(axes,),
            verbose=False,
        )
    if program is None:
        raise ExportError("torch.onnx.export gave no program")
    model = program.model_proto
    # Where a node came from in our source tells nothing at run time, and differs from machine to machine.
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    with replacing(path) as part:
        part.write_bytes(model.SerializeToString(deterministic=True))


def parity(network: nn.Module, task: Task, path: Path, inputs: Iterable[Tensor]) -> dict[str, Any]:
    """Runs ONNX and torch on the same inputs.

    Args:
        network: What was exported.
        task: Names the outputs.
        path: The ONNX file.
        inputs: Raw inputs, of batch and time sizes other than the traced ones too.

    Returns:
        max_abs_error over all float outputs, max_relative_error (over the largest output of each run, where above 1),
        differing_labels, finite (whether all outputs are numbers), shapes_tried and passed.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [spec.name for spec in task.outputs]
    absolute = relative = 0.0
    differing, finite = 0, True
    shapes = []
    for batch in inputs:
        shapes.append(list(batch.shape))
        found = session.run(names, {task.inputs.name: batch.numpy()})
        with torch.inference_mode():
            expected = network(batch)
        expected = expected if isinstance(expected, tuple) else (expected,)
        for ours, theirs in zip(found, (tensor.numpy() for tensor in expected), strict=True):
            if ours.shape != theirs.shape:
                raise ExportError(f"for inputs {shapes[-1]} ONNX gives {ours.shape}, torch {theirs.shape}")
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
        yield
    exporter.setLevel(level)
