"""Log-likelihood of the next token of a tune, n-gram baselines, and the share of generated tunes that parse."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll.domains.tunes.config import TuneTask
from unroll.features.samples import Samples, Tensors
from unroll.metrics.metrics import Metrics
from unroll.metrics.next_tokens import ngram_baselines, per_sample_loss, score_by_group
from unroll.metrics.tokens import length_groups

ORDERS = {"unigram": 1, "bigram": 2, "trigram": 3, "fivegram": 5}
PARTS = (3, 20, 50, 100)
"""Ends of the parts of a tune, in tokens: meter, key and unit note length, the first bars, and so on."""


def make_metrics(section: TuneTask, samples: Samples) -> Metrics:
    """Return the metrics of a task."""
    del section
    size = samples.vocabularies["tune"].size
    return Metrics(
        "nll_per_token",
        higher_is_better=False,
        score=score_by_group(_by_position, "by_position"),
        per_sample_loss=per_sample_loss,
        baselines=lambda samples: ngram_baselines(samples, ORDERS, size, stream=False),
        test="paired_t_test",
        score_texts=score_texts,
    )


def score_texts(texts: Sequence[str]) -> dict[str, Any]:
    """Return the number of generated tunes, the share that parses, and the share that parses without any error."""
    # Imported late: training does not depend on it.
    from unroll.domains.tunes.notation import to_abc, to_score

    found = [to_score(to_abc(text, "Generated")) for text in texts]
    parses = [score is not None for score, _ in found]
    clean = [score is not None and not errors for score, errors in found]
    return {"tunes": len(texts), "parses": float(np.mean(parses)), "without_errors": float(np.mean(clean))}


def _by_position(rows: Tensors) -> dict[str, NDArray[np.bool_]]:
    """Group the targets by their position in the tune."""
    targets = rows["targets"]
    return length_groups(np.broadcast_to(np.arange(1, targets.shape[1] + 1), targets.shape), PARTS)
