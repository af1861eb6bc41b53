"""Precision, recall and F1 of entities, and a baseline."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unroll.domains.tagged.config import TaggingTask
from unroll.domains.tagged.schemes import OUTSIDE
from unroll.features.samples import Samples, Tensors
from unroll.features.special_tokens import IGNORE_INDEX, PAD
from unroll.metrics.classification import labels_of, majority
from unroll.metrics.entities import entity_scores
from unroll.metrics.live import Live, label_accuracy, label_lists
from unroll.metrics.metrics import Metrics, Prediction

if TYPE_CHECKING:
    import pandas as pd


def make_metrics(section: TaggingTask, samples: Samples) -> Metrics:
    """Return the metrics of a task."""
    tags = list(samples.notes["tags"])
    return Metrics(
        "entity_f1",
        higher_is_better=True,
        score=lambda prediction, rows: score(prediction, rows, tags),
        per_sample_loss=per_sample_loss,
        baselines=baselines,
        test="paired_t_test",
    )


def score(prediction: Prediction, rows: Tensors, tags: Sequence[str]) -> dict[str, Any]:
    """Return scores of entities, and the accuracy of tokens.

    Args:
        prediction: Tag numbers int64 [sample, time], or probabilities float32 [sample, time, tag].
        rows: `targets` int64 [sample, time], IGNORE_INDEX after the end of a sentence; `tags`: all tags of a sentence,
            joined by blanks, those beyond `max_tokens` too.
        tags: Names of the tags.

    Returns:
        entity_f1, entity_precision and entity_recall: an entity is right if its type and both its ends are; entities:
        the number of true ones; by_type: F1 and number of entities of each type; token_accuracy. Tokens beyond
        `max_tokens` are wrong, and entities there missed.
    """
    labels, targets = labels_of(prediction), rows["targets"]
    true = [row.split() for row in rows["tags"]]
    predicted = [
        _tag_names(row, target != IGNORE_INDEX, tags, len(own))
        for row, target, own in zip(labels, targets, true, strict=True)
    ]
    total, by_type = entity_scores(true, predicted)
    tokens = sum(map(len, true))
    return {
        "entity_f1": total.f1,
        "entity_precision": total.precision,
        "entity_recall": total.recall,
        "token_accuracy": float((labels == targets)[targets != IGNORE_INDEX].sum() / tokens),
        "entities": total.count,
        "rows": len(targets),
        "by_type": {kind: {"entity_f1": one.f1, "entities": one.count} for kind, one in by_type.items()},
    }


def per_sample_loss(prediction: Prediction, rows: Tensors) -> NDArray[np.float64]:
    """Return the share of wrong tokens in each sentence, those beyond `max_tokens` among them, float64 [sample]."""
    targets = rows["targets"]
    right = (labels_of(prediction) == targets) & (targets != IGNORE_INDEX)
    tokens = np.array([len(row.split()) for row in rows["tags"]])
    losses: NDArray[np.float64] = 1 - right.sum(1) / tokens
    return losses


def _tag_names(numbers: NDArray[np.int64], inside: NDArray[np.bool_], tags: Sequence[str], length: int) -> list[str]:
    """Return the predicted tags of a sentence of `length` tokens; those that were not read are outside of entities."""
    read = [tags[tag] for tag in numbers[inside]]
    return read + [OUTSIDE] * (length - len(read))


def baselines(samples: Samples) -> dict[str, Prediction]:
    """Return the most frequent tag of each token in training; for unknown tokens, the most frequent tag of all."""
    inputs, targets = samples.tensors["inputs"], samples.tensors["targets"]
    found = []
    for fold in samples.folds:
        past = np.concatenate([fold.train, fold.valid])
        inside = targets[past] != IGNORE_INDEX
        tokens, tags = inputs[past][:, :, 0][inside], targets[past][inside]
        counts = np.zeros((int(inputs[:, :, 0].max()) + 1, int(tags.max()) + 1), np.int64)
        np.add.at(counts, (tokens, tags), 1)
        best = np.where(counts.any(1), counts.argmax(1), majority(tags))
        test = inputs[fold.test][:, :, 0]
        found.append(np.where(test == PAD, 0, best[test]))
    return {"most_frequent_tag": np.concatenate(found)}


def live_metrics(kind: str, rows: "pd.DataFrame") -> Live:
    """Return entity metrics of sentences whose tags are known."""
    del kind
    true, predicted = label_lists(rows)
    total, _ = entity_scores(true, predicted)
    return {
        "entity_f1": total.f1,
        "entity_precision": total.precision,
        "entity_recall": total.recall,
        "token_accuracy": label_accuracy(true, predicted),
    }
