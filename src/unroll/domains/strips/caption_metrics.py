"""Right captions of strips, and baselines."""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll.features.samples import Index, Samples, Tensors
from unroll.metrics.metrics import Metrics, Prediction
from unroll.metrics.tokens import by_group, edit_distance, ended, written

CHUNK = 250
"""Strips that are compared with all training strips at once."""


def caption_metrics() -> Metrics:
    """Return the metrics of a task of kind captions."""
    return Metrics(
        "exact_match",
        higher_is_better=True,
        score=score,
        per_sample_loss=per_sample_loss,
        baselines=baselines,
        test="mcnemar",
    )


def score(prediction: Prediction, rows: Tensors) -> dict[str, Any]:
    """Right sentences, and right words.

    Args:
        prediction: Token numbers int64 [sample, time], padded after `<eos>`.
        rows: `targets`, the same of the true sentences.

    Returns:
        exact_match: share of sentences right from beginning to end; digit_error_rate: edit distance to the true words
        over their number; by_digits: both by the number of digits.
    """
    true = written(rows["targets"])
    errors = np.array([edit_distance(*pair) for pair in zip(written(prediction), true, strict=True)])
    counts = np.array([len(words) for words in true])

    def figures(inside: Any) -> dict[str, Any]:
        return {
            "exact_match": float((errors[inside] == 0).mean()),
            "digit_error_rate": float(errors[inside].sum() / counts[inside].sum()),
            "rows": len(errors[inside]),
        }

    groups = {str(count): counts == count for count in np.unique(counts)}
    return {**figures(slice(None)), "by_digits": by_group(groups, figures)}


def per_sample_loss(prediction: Prediction, rows: Tensors) -> NDArray[np.float64]:
    """1 where any word of a sentence is wrong, else 0."""
    pairs = zip(written(prediction), written(rows["targets"]), strict=True)
    return np.array([said != true for said, true in pairs], np.float64)


def baselines(samples: Samples) -> dict[str, Prediction]:
    """The most frequent sentence, and that of the training strip with the nearest pixels."""
    inputs, targets = samples.tensors["inputs"], samples.tensors["targets"]
    frequent, nearest = [], []
    for fold in samples.folds:
        past = np.concatenate([fold.train, fold.valid])
        sentences = written(targets[past])
        common, _ = Counter(map(tuple, sentences)).most_common(1)[0]
        frequent += [list(common)] * len(fold.test)
        nearest += [sentences[place] for place in _nearest(inputs, past, fold.test)]
    return {"most_frequent": ended(frequent), "nearest_strip": ended(nearest)}


def _nearest(inputs: NDArray[np.uint8], known: Index, asked: Index) -> NDArray[np.int64]:
    """Of each strip asked for, the place among the known ones of that with the least squared difference of pixels."""
    pixels = inputs.reshape(len(inputs), -1)
    there = pixels[known].astype(np.float32)
    # |x − m|² = |x|² − 2·x·m + |m|²; the first term is the same for every known strip.
    squares = (there**2).sum(1)
    places = [
        (squares - 2 * pixels[asked[start : start + CHUNK]].astype(np.float32) @ there.T).argmin(1)
        for start in range(0, len(asked), CHUNK)
    ]
    return np.concatenate(places)
