"""What tasks share whose networks tell each next token: figures of log probabilities, and n-gram baselines."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll.features.samples import Index, Samples, Tensors
from unroll.features.special_tokens import IGNORE_INDEX
from unroll.metrics.metrics import Prediction
from unroll.metrics.ngrams import ngram_log_probabilities
from unroll.metrics.tokens import by_group

Groups = Callable[[Tensors], Mapping[str, NDArray[np.bool_]]]
"""Rows → parts of their targets, as masks [sample, time]."""


def metrics(prediction: Prediction, rows: Tensors) -> dict[str, Any]:
    """How well each next token was foretold.

    Args:
        prediction: Log probability (nats) of each target, float32 [sample, time]; 0 where it is IGNORE_INDEX.
        rows: `targets`, int64 [sample, time].

    Returns:
        nll_per_token: mean negative log probability, in nats; perplexity: e to the power of it; tokens: how many.
    """
    return _figures(prediction, rows["targets"] != IGNORE_INDEX)


def grouped(groups: Groups, name: str) -> Callable[[Prediction, Tensors], dict[str, Any]]:
    """`metrics`, and under `name` the same for parts of the targets."""

    def figures(prediction: Prediction, rows: Tensors) -> dict[str, Any]:
        counted = rows["targets"] != IGNORE_INDEX
        parts = {part: inside & counted for part, inside in groups(rows).items()}
        return {**_figures(prediction, counted), name: by_group(parts, lambda inside: _figures(prediction, inside))}

    return figures


def _figures(prediction: Prediction, inside: NDArray[np.bool_]) -> dict[str, Any]:
    nll = float(-prediction[inside].mean(dtype=np.float64))
    return {"nll_per_token": nll, "perplexity": float(np.exp(nll)), "tokens": int(np.count_nonzero(inside))}


def per_sample_loss(prediction: Prediction, rows: Tensors) -> NDArray[np.float64]:
    """Mean negative log probability (nats) of each row's targets, float64 [sample]."""
    counted = rows["targets"] != IGNORE_INDEX
    sums = np.where(counted, prediction, 0).sum(1, dtype=np.float64)
    losses: NDArray[np.float64] = -sums / np.maximum(counted.sum(1), 1)
    return losses


def ngram_baselines(samples: Samples, orders: Mapping[str, int], size: int, *, stream: bool) -> dict[str, Prediction]:
    """n-gram models of the training split.

    Args:
        samples: With `inputs` and `targets` of tokens.
        orders: Name of each baseline, and the length of its grams.
        size: Of the vocabulary.
        stream: Whether the rows of a split are windows of one text, so that a gram may reach into the row before.
    """

    def tokens(index: Index) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        inputs, targets = samples.tensors["inputs"][index], samples.tensors["targets"][index]
        return (inputs.reshape(1, -1), targets.reshape(1, -1)) if stream else (inputs, targets)

    def judged(order: int) -> Prediction:
        parts = [
            ngram_log_probabilities(tokens(fold.train), tokens(fold.test), order, size).reshape(len(fold.test), -1)
            for fold in samples.folds
        ]
        return np.concatenate(parts)

    return {name: judged(order) for name, order in orders.items()}
