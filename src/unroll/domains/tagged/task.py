"""A tag for each token of a sentence: names of persons, places, and so on, in IOB2."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll import config
from unroll.domains.task import Prediction, Task, TensorSpec
from unroll.features.samples import Samples, Tensors
from unroll.features.special_tokens import IGNORE_INDEX, PAD
from unroll.metrics.classification import labels_of, majority
from unroll.metrics.entities import entity_scores
from unroll.metrics.tokens import step_loss, text_card
from unroll.models.heads import LinearHead
from unroll.models.preprocessing import Tokens


def tag_task(name: str, section: config.TagTask, samples: Samples) -> Task:
    """Many to many in step: the tokens of a sentence, and their first letters → a tag for each."""
    tags = list(samples.notes["tags"])
    characters = section.characters
    names = ("token", "character") if characters else ("token",)
    shape: tuple[int | str, ...] = ("batch", "time", 1 + characters)
    return Task(
        name=name,
        kind=section.kind,
        topology="many_to_many",
        reader="text",
        inputs=TensorSpec("inputs", "int64", shape, "token number, then those of its first characters"),
        outputs=(
            TensorSpec("labels", "int64", ("batch", "time"), "tag of each token; 0 beyond the sentence's end"),
            TensorSpec("scores", "float32", ("batch", "time"), "probability of that tag, 0 to 1"),
        ),
        features=0,
        make_preprocessing=Tokens,
        make_head=lambda size: LinearHead(size, len(tags)),
        loss=step_loss,
        metrics=lambda prediction, rows: metrics(prediction, rows, tags),
        per_sample_loss=per_sample_loss,
        headline="entity_f1",
        higher_is_better=True,
        baselines=baselines,
        plot=lambda folder, title, prediction, rows, evaluation: plot(
            folder, title, prediction, rows, evaluation, tags
        ),
        details={
            "labels": tags,
            "text": text_card(
                "tokens",
                "token",
                max_tokens=section.max_tokens,
                truncation=section.truncation,
                characters=characters,
            ),
        },
        output="labels",
        every_step=True,
        variable_length=True,
        vocabularies={one: samples.vocabularies[one] for one in names},
        source_vocab_size=samples.vocabularies["token"].size,
        characters=characters,
        character_vocab_size=samples.vocabularies["character"].size if characters else 0,
    )


def metrics(prediction: Prediction, rows: Tensors, tags: Sequence[str]) -> dict[str, Any]:
    """Whole entities, and single tokens.

    Args:
        prediction: Tag numbers int64 [sample, time], or probabilities float32 [sample, time, tag].
        rows: `targets` int64 [sample, time], IGNORE_INDEX beyond each sentence's end.
        tags: Their names.

    Returns:
        entity_f1, entity_precision and entity_recall: an entity counts where its type and both its ends are right;
        token_accuracy; entities: how many there are; by_type: F1 of each type of entity and how many there are.
    """
    labels, targets = labels_of(prediction), rows["targets"]
    inside = targets != IGNORE_INDEX
    total, by_type = entity_scores(_named(targets, inside, tags), _named(labels, inside, tags))
    return {
        "entity_f1": total.f1,
        "entity_precision": total.precision,
        "entity_recall": total.recall,
        "token_accuracy": float((labels == targets)[inside].mean()),
        "entities": total.count,
        "rows": len(targets),
        "by_type": {kind: {"entity_f1": one.f1, "entities": one.count} for kind, one in by_type.items()},
    }


def per_sample_loss(prediction: Prediction, rows: Tensors) -> NDArray[np.float64]:
    """Share of wrong tokens in each sentence."""
    targets = rows["targets"]
    inside = targets != IGNORE_INDEX
    wrong = (labels_of(prediction) != targets) & inside
    losses: NDArray[np.float64] = wrong.sum(1) / np.maximum(inside.sum(1), 1)
    return losses


def _named(numbers: NDArray[np.int64], inside: NDArray[np.bool_], tags: Sequence[str]) -> list[list[str]]:
    return [[tags[tag] for tag in row[there]] for row, there in zip(numbers, inside, strict=True)]


def baselines(samples: Samples) -> dict[str, Prediction]:
    """Each token's most frequent tag in training; the most frequent of all where the token was not seen."""
    inputs, targets = samples.tensors["inputs"], samples.tensors["targets"]
    found = []
    for fold in samples.folds:
        past = np.concatenate([fold.train, fold.valid])
        inside = targets[past] != IGNORE_INDEX
        tokens, tags = inputs[past][:, :, 0][inside], targets[past][inside]
        counts = np.zeros((int(inputs[:, :, 0].max()) + 1, int(tags.max()) + 1), np.int64)
        np.add.at(counts, (tokens, tags), 1)
        best = np.where(counts.any(1), counts.argmax(1), majority(tags))
        asked = inputs[fold.test][:, :, 0]
        found.append(np.where(asked == PAD, 0, best[asked]))
    return {"most_frequent_tag": np.concatenate(found)}


def plot(
    folder: Path,
    title: str,
    prediction: Prediction,
    rows: Tensors,
    evaluation: Mapping[str, Any],
    tags: Sequence[str],
) -> None:
    """F1 of each type of entity, and sentences with the most wrong tokens."""
    from unroll.plotting.figures import by_group_bars
    from unroll.plotting.tables import table_figure

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
        [(rows["text"][row], _told(rows["text"][row], targets[row], labels[row], tags)) for row in order],
        widths=(70, 56),
    )


def _told(text: str, targets: NDArray[np.int64], labels: NDArray[np.int64], tags: Sequence[str]) -> str:
    """The wrong tokens of a sentence with both tags."""
    return "; ".join(
        f"{token}: {tags[true]}, {tags[label]}"
        for token, true, label in zip(text.split(), targets, labels, strict=False)
        if true not in (IGNORE_INDEX, label)
    )
