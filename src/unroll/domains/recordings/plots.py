"""Plots of recording classification."""

import numpy as np

from unroll.domains.recordings.metrics import class_count
from unroll.metrics.classification import confusion, labels_of
from unroll.plotting.results import Results


def plot(results: Results) -> None:
    """Plot accuracy by voice, the confusion matrix of held-out voices, and the most confident mistakes."""
    from unroll.plotting.figures import confusion_matrix, entitle, figure, save
    from unroll.plotting.tables import table_figure

    folder, title, prediction, rows = results.folder, results.title, results.prediction, results.rows
    evaluation = results.evaluation
    classes = class_count(results.samples)
    test, base = evaluation["test"], evaluation["baseline"]["frame_statistics"]
    targets, labels = rows["targets"], labels_of(prediction)
    held_out = rows["held_out"] == 1
    drawn, axis = figure(width=7.6, height=3.8)
    # A gap separates the voices from the random split.
    names = [*test["by_voice"], "", "random split"]
    for shift, color, label, found in (
        (-0.2, "C0", "network", test),
        (0.2, "0.6", "logistic regression on frame statistics", base),
    ):
        heights = [*found["by_voice"].values(), 0, found["accuracy_random_split"]]
        bars = axis.bar(np.arange(len(names)) + shift, heights, 0.38, color=color, label=label)
        axis.bar_label(bars, [f"{height:.2f}" if height else "" for height in heights], size=7)
    axis.set_xticks(range(len(names)), names, size=8)
    axis.set(ylabel="accuracy", ylim=(0, 1.08))
    axis.spines[["top", "right"]].set_visible(False)
    drawn.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    entitle(
        drawn,
        f"{title}: mean over held-out voices {test['accuracy']:.1%}, logistic regression on frame statistics "
        f"{base['accuracy']:.1%}.\nVoices are clusters of recordings: the data does not name its speakers.",
        9,
    )
    save(drawn, folder / "voices.png")

    confusion_matrix(
        folder / "confusion.png",
        f"{title}: {test['rows']:,} recordings of held-out voices, macro-F1 "
        f"{test['macro_f1']:.3f}; logistic regression on frame statistics {base['macro_f1']:.3f}",
        confusion(targets[held_out], labels[held_out], classes),
        [str(label) for label in range(classes)],
    )
    confidence = prediction[np.arange(len(labels)), labels]
    wrong = np.flatnonzero((labels != targets) & held_out)
    order = wrong[np.argsort(-confidence[wrong], kind="stable")][:15]
    table_figure(
        folder / "mistakes.png",
        f"{title}: the most confident mistakes on held-out voices",
        ("voice", "frames", "label", "prediction", "prob.", "probability of the label"),
        [
            (
                f"voice-{rows['voice'][row]}",
                str(rows["lengths"][row]),
                str(targets[row]),
                str(labels[row]),
                f"{confidence[row]:.1%}",
                f"{prediction[row, targets[row]]:.1%}",
            )
            for row in order
        ],
        widths=(10, 8, 6, 11, 8, 24),
    )
