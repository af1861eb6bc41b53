"""Plots of token classification."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unroll.features.special_tokens import IGNORE_INDEX
from unroll.metrics.classification import labels_of
from unroll.plotting.results import Results


def plot(results: Results) -> None:
    """Plot F1 of each type of entity, and the sentences with the most wrong tokens."""
    from unroll.plotting.figures import by_group_bars
    from unroll.plotting.tables import table_figure

    folder, title, prediction, rows = results.folder, results.title, results.prediction, results.rows
    evaluation, tags = results.evaluation, list(results.samples.notes["tags"])
    test, base = evaluation["test"], evaluation["baseline"]["most_frequent_tag"]
    by_group_bars(
        folder / "types.png",
        f"{title}: entity F1 {test['entity_f1']:.3f}, right tokens {test['token_accuracy']:.1%} in {test['rows']:,} "
        f"test sentences;\nmost frequent tag of each token {base['entity_f1']:.3f} and {base['token_accuracy']:.1%}",
        {
            "network": {kind: one for kind, one in test["by_type"].items() if one["entities"]},
            "most frequent tag": base["by_type"],
        },
        "entity_f1",
        xlabel="type of entity (entities)",
        ylabel="F1",
        counted="entities",
    )
    labels, targets = labels_of(prediction), rows["targets"]
    wrong = ((labels != targets) & (targets != IGNORE_INDEX)).sum(1)
    order = [row for row in np.argsort(-wrong, kind="stable")[:12] if wrong[row]]
    table_figure(
        folder / "mistakes.png",
        f"{title}: the test sentences with the most wrong tokens",
        ("sentence", "token: true tag, predicted tag"),
        [(rows["text"][row], _mistakes(rows["text"][row], targets[row], labels[row], tags)) for row in order],
        widths=(70, 56),
    )


def _mistakes(text: str, targets: NDArray[np.int64], labels: NDArray[np.int64], tags: Sequence[str]) -> str:
    """Return the wrong tokens of a sentence, each with its true and its predicted tag."""
    return "; ".join(
        f"{token}: {tags[true]}, {tags[label]}"
        for token, true, label in zip(text.split(), targets, labels, strict=False)
        if true not in (IGNORE_INDEX, label)
    )
