"""A network as one ONNX graph."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from onnx import GraphProto, ModelProto
from torch import Tensor, nn

from unroll.domains.task import Task
from unroll.errors import ExportError
from unroll.export.recurrent import translation_table
from unroll.files import replacing


def export(
    network: nn.Module, task: Task, example: Tensor, lengths: Tensor | None, path: Path, *, dynamic_time: bool
) -> None:
    """Write a network as ONNX with a dynamic batch axis.

    Args:
        network: In evaluation mode; raw inputs, and lengths where they vary → the task's outputs.
        task: Names inputs and outputs.
        example: Raw inputs [batch, time, feature] to trace.
        lengths: int64 [batch] of the example; None if the graph takes none.
        path: File to write.
        dynamic_time: Whether the time axis is dynamic, too.
    """
    axes = {0: torch.export.Dim("batch")}
    if dynamic_time:
        axes[1] = torch.export.Dim("time", min=task.min_steps)
    names = [task.inputs.name] + (["lengths"] if lengths is not None else [])
    arguments, shapes = ((example,), (axes,)) if lengths is None else ((example, lengths), (axes, {0: axes[0]}))
    write_model(to_onnx(network, arguments, shapes, names, [spec.name for spec in task.outputs]), path)


def to_onnx(
    module: nn.Module,
    arguments: tuple[Any, ...],
    dynamic_shapes: tuple[Any, ...],
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> ModelProto:
    """Return a module in evaluation mode as an ONNX model.

    Args:
        module: The module.
        arguments: Arguments of the call to trace.
        dynamic_shapes: Dynamic axes of each argument.
        inputs: Names; None leaves them to the exporter.
        outputs: Names; None leaves them to the exporter.
    """
    with _quiet():
        program = torch.onnx.export(
            module,
            arguments,
            dynamo=True,
            custom_translation_table=translation_table(),
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=dynamic_shapes,
            verbose=False,
        )
    if program is None:
        raise ExportError("torch.onnx.export returned no program")
    model: ModelProto = program.model_proto
    _remove_traces(model.graph)
    return model


def _remove_traces(graph: GraphProto) -> None:
    """Remove traces of our source code, which differ from machine to machine and are of no use at run time."""
    graph.ClearField("doc_string")
    for node in graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _remove_traces(attribute.g)


def write_model(model: ModelProto, path: Path) -> None:
    """Write a model; equal models are equal bytes."""
    with replacing(path) as part:
        part.write_bytes(model.SerializeToString(deterministic=True))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", message=".*will not be used, since it shares the same shape.*")
            warnings.filterwarnings("ignore", message=".*dynamic axes will not be renamed.*")
            yield
    finally:
        exporter.setLevel(level)
