"""A graph with int8 weights, and what it loses of the headline metric."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import GraphProto
from torch import Tensor, nn

from unroll.domains.task import Task
from unroll.export.onnx import to_onnx, write_model
from unroll.features.samples import Samples, Tensors, linspace_indices
from unroll.inference.bundle import Bundle
from unroll.inference.sample_predictions import sample_predictions
from unroll.metrics.metrics import Prediction
from unroll.models.generators import LanguageModel, target_log_probabilities

ROWS = 5000
"""Maximum number of rows that the loss is measured on."""
_WINDOWS = 50
"""Rows of a language model at a time: each step of each has a score for every token of the vocabulary."""


def quantize(path: Path) -> None:
    """Replace the weights of a graph by whole numbers of 8 bits, with a scale for each row of a matrix.

    These are the weights of dense, embedding, output and LSTM layers, in loops, too. What they are multiplied with is
    quantized at run time, with a scale for all of a batch: a row's prediction depends a little on the others.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        folded, quantized = Path(folder) / "folded.onnx", Path(folder) / "quantized.onnx"
        # Only constants can be quantized: this computes the weights whose gates were put into ONNX's order.
        quant_pre_process(path, folded, skip_symbolic_shape=True, skip_onnx_shape=True)
        model = onnx.load(folded)
        _remove_shapes(model.graph)
        quantize_dynamic(
            model,
            quantized,
            per_channel=True,
            # Products of 8 and 7 bits fit into 16: on processors without VNNI, others are cut off.
            reduce_range=True,
            weight_type=QuantType.QInt8,
            extra_options={"EnableSubgraph": True},
        )
        write_model(onnx.load(quantized), path)


def compare(network: nn.Module, task: Task, samples: Samples, bundle: Bundle, quantized: bytes) -> dict[str, Any]:
    """Measure the headline metric with both graphs on the same validation rows; test rows where there are none.

    Args:
        network: What was exported.
        task: What it learned.
        samples: Samples of the task.
        bundle: Its float32 bundle.
        quantized: The int8 graph.

    Returns:
        metric, its value with float32 and with int8, loss (of `Metrics.loss`), split and rows.
    """
    fold = samples.shipped
    split, index = ("valid", fold.valid) if len(fold.valid) else ("test", fold.test)
    rows = samples.at(index[linspace_indices(len(index), ROWS)])
    if isinstance(network, LanguageModel):
        predictions = _judged(network, rows)
    else:
        predictions = sample_predictions(bundle, rows), sample_predictions(replace(bundle, graph=quantized), rows)
    metric = task.metrics.headline
    whole, int8 = (float(task.metrics.score(prediction, rows)[metric]) for prediction in predictions)
    return {
        "metric": metric,
        "float32": whole,
        "int8": int8,
        "loss": task.metrics.loss(int8, whole),
        "split": split,
        "rows": len(rows["targets"]),
    }


class _Judge(nn.Module):
    """A language model's log probability of each target: its graph writes texts and gives none for those of others."""

    def __init__(self, network: LanguageModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return target_log_probabilities(self.network.output(inputs)[0], targets)


def _judged(network: LanguageModel, rows: Tensors) -> tuple[Prediction, Prediction]:
    """Return log probabilities of the targets by a float32 and an int8 graph of the same layers, from the weights."""
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("time")}
    example = tuple(
        torch.from_numpy(np.resize(rows[name], (2, *rows[name].shape[1:]))) for name in ("inputs", "targets")
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "judge.onnx"
        write_model(to_onnx(_Judge(network).eval(), example, (axes, axes), ["inputs", "targets"]), path)
        whole = _run(path.read_bytes(), rows)
        quantize(path)
        return whole, _run(path.read_bytes(), rows)


def _run(graph: bytes, rows: Tensors) -> Prediction:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    cuts = [slice(start, start + _WINDOWS) for start in range(0, len(rows["inputs"]), _WINDOWS)]
    feeds = ({name: rows[name][cut] for name in ("inputs", "targets")} for cut in cuts)
    return np.concatenate([session.run(None, feed)[0] for feed in feeds])


def _remove_shapes(graph: GraphProto) -> None:
    """Remove the shapes of inner values: the library transposes weights and does not update theirs."""
    graph.ClearField("value_info")
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _remove_shapes(attribute.g)
