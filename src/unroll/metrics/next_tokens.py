"""Metrics of language models, computed from the log probability of each next token, and n-gram baselines."""

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
"""Rows → groups of their targets, as masks [sample, time]."""


def score_by_group(groups: Groups, name: str) -> Callable[[Prediction, Tensors], dict[str, Any]]:
    """Return a function that scores next-token predictions, and under `name` groups of the targets.

    The function takes the log probability (nats) of each target, float32 [sample, time], and rows with `targets` int64
    [sample, time]; targets of IGNORE_INDEX are not counted. It returns nll_per_token (mean negative log probability),
    perplexity (e to the power of it) and tokens (their number).
    """

    def score(prediction: Prediction, rows: Tensors) -> dict[str, Any]:
        counted = rows["targets"] != IGNORE_INDEX
        masks = {group: mask & counted for group, mask in groups(rows).items()}
        return {**_score(prediction, counted), name: by_group(masks, lambda mask: _score(prediction, mask))}

    return score


def _score(prediction: Prediction, mask: NDArray[np.bool_]) -> dict[str, Any]:
    nll = float(-prediction[mask].mean(dtype=np.float64))
    return {"nll_per_token": nll, "perplexity": float(np.exp(nll)), "tokens": int(np.count_nonzero(mask))}


def per_sample_loss(prediction: Prediction, rows: Tensors) -> NDArray[np.float64]:
    """Return the mean negative log probability (nats) of each row's targets, float64 [sample]."""
    counted = rows["targets"] != IGNORE_INDEX
    sums = np.where(counted, prediction, 0).sum(1, dtype=np.float64)
    losses: NDArray[np.float64] = -sums / np.maximum(counted.sum(1), 1)
    return losses


def ngram_baselines(samples: Samples, orders: Mapping[str, int], size: int, *, stream: bool) -> dict[str, Prediction]:
    """Return the log probabilities that n-gram models of the training split give to the test targets.

    Args:
        samples: Samples with `inputs` and `targets` of token numbers.
        orders: Order of each baseline, by name.
        size: Size of the vocabulary.
        stream: Whether the rows of a split are windows of one text, so that an n-gram may begin in the row before.
    """

    def tokens(index: Index) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        inputs, targets = samples.tensors["inputs"][index], samples.tensors["targets"][index]
        return (inputs.reshape(1, -1), targets.reshape(1, -1)) if stream else (inputs, targets)

    def log_probabilities(order: int) -> Prediction:
        parts = [
            ngram_log_probabilities(tokens(fold.train), tokens(fold.test), order, size).reshape(len(fold.test), -1)
            for fold in samples.folds
        ]
        return np.concatenate(parts)

    return {name: log_probabilities(order) for name, order in orders.items()}
