"""A graph with int8 weights, and what it loses of the headline metric."""

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import GraphProto, TensorProto, numpy_helper
from onnxscript import ir, optimizer
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
_REARRANGES = {"Concat", "Gather", "GatherND", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
_ANY = 2**40
"""No limit to the size of what is rearranged."""
_WINDOWS = 50
"""Rows of a language model at a time: each step of each has a score for every token of the vocabulary."""


def quantize(path: Path) -> None:
    """Replace the weights of a graph by whole numbers of 8 bits, with a scale for each row of a matrix.

    These are the weights of dense, embedding, output and LSTM layers, in loops, too. What they are multiplied with is
    quantized at run time, with a scale for all of a batch: a row's prediction depends a little on the others.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # Only constants can be quantized, so weights get their order and shape now. What is computed from weights stays to
    # be computed: a table of products would be larger than they are.
    folded = ir.load(path)
    optimizer.fold_constants(
        folded, input_size_limit=_ANY, output_size_limit=_ANY, should_fold=lambda node: node.op_type in _REARRANGES
    )
    optimizer.remove_unused_nodes(folded)
    model = ir.to_proto(folded)
    _prepare(model.graph, {})
    # The library warns of what is not quantized because it is no float, as root.
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory() as folder:
            quantized = Path(folder) / "quantized.onnx"
            quantize_dynamic(
                model,
                quantized,
                per_channel=True,
                # Products of 8 and 7 bits fit into 16: on processors without VNNI, others are cut off.
                reduce_range=True,
                weight_type=QuantType.QInt8,
                # Spectra of sound span more decades than 8 bits do, and their matrices are not trained.
                nodes_to_exclude=[
                    node.name for node in model.graph.node if any(".preprocessing." in one for one in node.input)
                ],
                extra_options={"EnableSubgraph": True},
            )
            write_model(onnx.load(quantized), path)
    finally:
        logging.disable(logging.NOTSET)


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
    whole = {name: rows[name].astype(np.int64) for name in ("inputs", "targets")}
    example = tuple(torch.from_numpy(np.resize(tokens, (2, *tokens.shape[1:]))) for tokens in whole.values())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "judge.onnx"
        write_model(to_onnx(_Judge(network).eval(), example, (axes, axes), list(whole)), path)
        before = _run(path, whole)
        quantize(path)
        return before, _run(path, whole)


def _run(graph: Path, rows: Tensors) -> Prediction:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    cuts = [slice(start, start + _WINDOWS) for start in range(0, len(rows["inputs"]), _WINDOWS)]
    return np.concatenate([session.run(None, {name: rows[name][cut] for name in rows})[0] for cut in cuts])


def _prepare(graph: GraphProto, outer: Mapping[str, tuple[TensorProto, GraphProto]]) -> None:
    """Transpose weights where a product does, and remove shapes, here and in loops.

    The library would transpose a weight in place for each product with it, although several share it, and would keep
    the shape of before.
    """
    graph.ClearField("value_info")
    weights = {**outer, **{tensor.name: (tensor, graph) for tensor in graph.initializer}}
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _prepare(attribute.g, weights)
            elif attribute.name == "transB" and attribute.i and node.input[1] in weights:
                tensor, owner = weights[node.input[1]]
                node.input[1] = f"{tensor.name}/transposed"
                attribute.i = 0
                if node.input[1] not in {one.name for one in owner.initializer}:
                    transposed = np.ascontiguousarray(numpy_helper.to_array(tensor).T)
                    owner.initializer.append(numpy_helper.from_array(transposed, node.input[1]))
