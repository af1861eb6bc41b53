"""Which class a recording is of, judged on voices that training has not heard."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray

from unroll import config
from unroll.domains.task import Prediction, Task, TensorSpec
from unroll.features.samples import Samples, Tensors
from unroll.metrics.classification import accuracy, confusion, labels_of, logistic_regression, macro_f1, majority
from unroll.models.heads import LinearHead
from unroll.models.preprocessing import Frames


def recording_task(name: str, section: config.RecordingTask, samples: Samples) -> Task:
    """Many to one: the frames of a recording → one class."""
    features = samples.tensors["inputs"].shape[2]
    classes = int(samples.tensors["targets"].max()) + 1
    return Task(
        name=name,
        kind=section.kind,
        topology="many_to_one",
        reader="arrays",
        inputs=TensorSpec("inputs", "float32", ("batch", "time", features), "features of each frame, as recorded"),
        outputs=(
            TensorSpec("label", "int64", ("batch",), "the most probable class"),
            TensorSpec("probabilities", "float32", ("batch", classes), "probability of each class, 0 to 1"),
        ),
        features=features * (1 + section.deltas),
        make_preprocessing=lambda: Frames(features, normalize=section.normalize, deltas=section.deltas),
        make_head=lambda size: LinearHead(size, classes),
        loss=F.cross_entropy,
        metrics=lambda prediction, rows: metrics(prediction, rows, classes),
        per_sample_loss=per_sample_loss,
        headline="accuracy",
        higher_is_better=True,
        baselines=lambda samples: baselines(samples, classes),
        plot=lambda folder, title, prediction, rows, evaluation: plot(
            folder, title, prediction, rows, evaluation, classes
        ),
        details={
            "labels": [str(label) for label in range(classes)],
            "array": {"column": "frames", "variable_length": True},
        },
        output="label",
        variable_length=True,
    )


def metrics(prediction: Prediction, rows: Tensors, classes: int) -> dict[str, Any]:
    """Accuracy on voices that training has not heard, and on a random split.

    Args:
        prediction: Probabilities float32 [sample, class], or class numbers [sample].
        rows: `targets`, `voice` and `held_out` int64 [sample]; held_out is 1 where training has not heard the voice.
        classes: Number of classes.

    Returns:
        accuracy: mean over the held-out voices of the share of right classes, each voice counting as much; by_voice:
        those shares; macro_f1: over the same recordings; accuracy_random_split: of the others. Where no voice was held
        out (while a network is trained on all of them), accuracy and macro_f1 are the others'.
    """
    targets, labels = rows["targets"], labels_of(prediction)
    held_out = rows["held_out"] == 1
    unheard = held_out if held_out.any() else ~held_out
    right = labels == targets
    found: dict[str, Any] = {
        "accuracy": float(right[unheard].mean()),
        "macro_f1": macro_f1(confusion(targets[unheard], labels[unheard], classes)),
        "rows": int(unheard.sum()),
    }
    if held_out.any():
        voices = np.unique(rows["voice"][held_out])
        shares = {f"voice-{voice}": float(right[held_out & (rows["voice"] == voice)].mean()) for voice in voices}
        found |= {"accuracy": float(np.mean(list(shares.values()))), "by_voice": shares}
    if not held_out.all():
        counts = confusion(targets[~held_out], labels[~held_out], classes)
        found |= {"accuracy_random_split": accuracy(counts), "rows_random_split": int(counts.sum())}
    return found


def per_sample_loss(prediction: Prediction, rows: Tensors) -> NDArray[np.float64]:
    """1 where the class of a recording is wrong whose voice was held out, else 0.

    Rows of the random split are nobody's errors here: what is compared are unheard voices.
    """
    wrong = (labels_of(prediction) != rows["targets"]) & (rows["held_out"] == 1)
    losses: NDArray[np.float64] = wrong.astype(np.float64)
    return losses


def baselines(samples: Samples, classes: int) -> dict[str, Prediction]:
    """The most frequent class; logistic regression on mean and deviation of each feature over a recording's frames."""
    frequent, linear = [], []
    targets = samples.tensors["targets"]
    statistics = frame_statistics(samples.tensors["inputs"], samples.tensors["lengths"])
    for fold in samples.folds:
        past = np.concatenate([fold.train, fold.valid])
        mean, deviation = statistics[past].mean(0), np.maximum(statistics[past].std(0), 1e-9)
        known, new = ((statistics[part] - mean) / deviation for part in (past, fold.test))
        frequent.append(np.full(len(fold.test), majority(targets[past])))
        linear.append(logistic_regression(known, targets[past], classes, max_iter=500)(new))
    return {"majority": np.concatenate(frequent), "frame_statistics": np.concatenate(linear)}


def frame_statistics(inputs: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean and deviation of each feature over the valid frames.

    Args:
        inputs: float32 [sample, time, feature].
        lengths: int64 [sample].

    Returns:
        float64 [sample, 2 × feature].
    """
    valid = (np.arange(inputs.shape[1]) < lengths[:, None])[:, :, None]
    count = np.maximum(lengths, 1)[:, None]
    mean = np.where(valid, inputs, 0).sum(1, dtype=np.float64) / count
    square = np.where(valid, inputs - mean[:, None, :], 0) ** 2
    return np.concatenate([mean, np.sqrt(square.sum(1) / count)], axis=1)


def plot(
    folder: Path,
    title: str,
    prediction: Prediction,
    rows: Tensors,
    evaluation: Mapping[str, Any],
    classes: int,
) -> None:
    """Accuracy voice by voice, confusion on unheard voices, and the mistakes that the model was surest of."""
    from unroll.plotting.figures import confusion_matrix, entitle, figure, save
    from unroll.plotting.tables import table_figure

    test, base = evaluation["test"], evaluation["baseline"]["frame_statistics"]
    targets, labels = rows["targets"], labels_of(prediction)
    unheard = rows["held_out"] == 1
    drawn, axis = figure(width=7.6, height=3.8)
    # A blank place parts the voices from the random split.
    names = [*test["by_voice"], "", "random split"]
    for shift, colour, label, found in (
        (-0.2, "C0", "network", test),
        (0.2, "0.6", "logistic regression on frame statistics", base),
    ):
        heights = [*found["by_voice"].values(), 0, found["accuracy_random_split"]]
        bars = axis.bar(np.arange(len(names)) + shift, heights, 0.38, color=colour, label=label)
        axis.bar_label(bars, [f"{height:.2f}" if height else "" for height in heights], size=7)
    axis.set_xticks(range(len(names)), names, size=8)
    axis.set(ylabel="accuracy", ylim=(0, 1.08))
    axis.spines[["top", "right"]].set_visible(False)
    drawn.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    entitle(
        drawn,
        f"{title}: mean over held-out voices {test['accuracy']:.1%}, logistic regression on frame statistics "
        f"{base['accuracy']:.1%}.\nVoices are clusters of recordings: the data name no speaker.",
        9,
    )
    save(drawn, folder / "voices.png")

    confusion_matrix(
        folder / "confusion.png",
        f"{title}: {test['rows']:,} recordings of voices that training has not heard, macro-F1 "
        f"{test['macro_f1']:.3f}; logistic regression on frame statistics {base['macro_f1']:.3f}",
        confusion(targets[unheard], labels[unheard], classes),
        [str(label) for label in range(classes)],
    )
    sure = prediction[np.arange(len(labels)), labels]
    wrong = np.flatnonzero((labels != targets) & unheard)
    order = wrong[np.argsort(-sure[wrong], kind="stable")][:15]
    table_figure(
        folder / "mistakes.png",
        f"{title}: the mistakes on unheard voices it was surest of",
        ("voice", "frames", "is", "taken for", "sure", "probability of the right class"),
        [
            (
                f"voice-{rows['voice'][row]}",
                str(rows["lengths"][row]),
                str(targets[row]),
                str(labels[row]),
                f"{sure[row]:.1%}",
                f"{prediction[row, targets[row]]:.1%}",
            )
            for row in order
        ],
        widths=(10, 8, 6, 10, 8, 30),
    )
