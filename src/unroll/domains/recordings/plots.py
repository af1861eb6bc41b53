"""Plots of recording classification."""

import numpy as np

from unroll.domains.recordings.metrics import class_count
from unroll.metrics.classification import confusion, labels_of
from unroll.plotting.results import Results


def plot(results: Results) -> None:
    """Accuracy voice by voice, confusion on unheard voices, and the mistakes that the model was surest of."""
    folder, title, prediction, rows = results.folder, results.title, results.prediction, results.rows
    evaluation = results.evaluation
    classes = class_count(results.samples)
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
