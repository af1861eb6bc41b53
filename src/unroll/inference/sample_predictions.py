"""Predictions of a bundle for samples, as the task's metrics take them."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.features.samples import Tensors
from unroll.inference.bundle import Bundle
from unroll.inference.sample_rows import sample_rows
from unroll.inference.scorer import Scorer
from unroll.metrics.metrics import Prediction


def sample_predictions(bundle: Bundle, rows: Tensors) -> Prediction:
    """Return the graph's outputs for all rows [row, …], with zeros after the end of shorter ones.

    Raises:
        BundleError: onnxruntime cannot run the graph on these rows.
    """
    outputs = [one.name for one in bundle.card.outputs]
    name = next((one for one in ("tokens", "labels", "probabilities") if one in outputs), outputs[0])
    scorer = Scorer(bundle)
    batch = sample_rows(rows, np.arange(len(rows["inputs"])), bundle.card)
    pieces = [np.arange(len(batch))[cut] for cut in scorer.pieces(batch)]

    def run(piece: NDArray[np.int64]) -> NDArray[Any]:
        found = scorer.outputs(batch.take(pa.array(piece)))[name]
        return found[:, 0] if name == "tokens" else found  # the best hypothesis

    # A call uses one thread; several calls run side by side.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        parts = list(pool.map(run, pieces))
    shape = list(parts[0].shape[1:])
    if shape:
        steps = rows["targets"].shape[1] if rows["targets"].ndim > 1 and name != "tokens" else 0
        shape[0] = max(steps, *(part.shape[1] for part in parts))
    whole = np.zeros((len(batch), *shape), parts[0].dtype)
    for piece, part in zip(pieces, parts, strict=True):
        whole[(piece, slice(part.shape[1])) if shape else piece] = part
    return whole
