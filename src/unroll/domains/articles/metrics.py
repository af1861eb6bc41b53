"""Perplexity of a language model, and n-gram baselines."""

import numpy as np
from numpy.typing import NDArray

from unroll.domains.articles.config import LanguageTask
from unroll.features.samples import Samples, Tensors
from unroll.metrics.metrics import Metrics
from unroll.metrics.next_tokens import ngram_baselines, per_sample_loss, score_by_group

ORDERS = {"unigram": 1, "bigram_absolute_discount": 2, "trigram_absolute_discount": 3}
RANKS = (100, 1_000, 5_000)
"""Last ranks of the groups of tokens by frequency."""


def make_metrics(section: LanguageTask, samples: Samples) -> Metrics:
    """Return the metrics of a task."""
    size = samples.vocabularies["text"].size
    ranks = _ranks(samples, size)
    return Metrics(
        "perplexity",
        higher_is_better=False,
        score=score_by_group(lambda rows: _by_frequency(rows, ranks), "by_frequency"),
        per_sample_loss=per_sample_loss,
        baselines=lambda samples: ngram_baselines(samples, ORDERS, size, stream=True),
        test="paired_t_test",
    )


def _ranks(samples: Samples, size: int) -> NDArray[np.int64]:
    """Return the rank of each token by its frequency in training, 1 for the most frequent: int64 [token]."""
    past = np.concatenate([samples.tensors["targets"][fold.train].ravel() for fold in samples.folds])
    counts = np.bincount(past[past >= 0], minlength=size)
    ranks = np.empty(size, np.int64)
    ranks[np.argsort(-counts, kind="stable")] = np.arange(1, size + 1)
    return ranks


def _by_frequency(rows: Tensors, ranks: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Group the targets: those among the 100 most frequent tokens, among the next 900, and so on."""
    target_ranks = ranks[np.maximum(rows["targets"], 0)]
    groups, first = {}, 1
    for last in (*(rank for rank in RANKS if rank < len(ranks)), len(ranks)):
        groups[f"{first}-{last}"] = (target_ranks >= first) & (target_ranks <= last)
        first = last + 1
    return groups
