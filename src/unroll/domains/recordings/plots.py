"""Plots of recording classification."""

import numpy as np

from unroll.domains.recordings.metrics import class_names, headline_rows
from unroll.metrics.classification import confusion, labels_of
from unroll.plotting.results import Results


def plot(results: Results) -> None:
    """Plot accuracy by voice, the confusion matrix of held-out voices, and the most confident mistakes."""
    from unroll.plotting.figures import confusion_matrix
    from unroll.plotting.tables import table_figure

    folder, title, prediction, rows = results.folder, results.title, results.prediction, results.rows
    names = class_names(results.samples)
    test, base = results.evaluation["test"], results.evaluation["baseline"]["frame_statistics"]
    targets, labels = rows["targets"], labels_of(prediction)
    counted = headline_rows(rows)
    voices = _voice_names(results)
    if "by_voice" in test:
        _plot_voices(results, voices)
    of_what = "recordings of held-out voices" if rows["held_out"].any() else "recordings"
    confusion_matrix(
        folder / "confusion.png",
        f"{title}: {test['rows']:,} {of_what}, macro-F1 "
        f"{test['macro_f1']:.3f}; logistic regression on frame statistics {base['macro_f1']:.3f}",
        confusion(targets[counted], labels[counted], len(names)),
        names,
    )
    confidence = prediction[np.arange(len(labels)), labels]
    wrong = np.flatnonzero((labels != targets) & counted)
    order = wrong[np.argsort(-confidence[wrong], kind="stable")][:15]
    table_figure(
        folder / "mistakes.png",
        f"{title}: the most confident mistakes on {of_what}",
        ("voice", "frames", "label", "prediction", "prob.", "probability of the label"),
        [
            (
                voices.get(int(rows["voice"][row]), ""),
                str(rows["lengths"][row]),
                names[targets[row]],
                names[labels[row]],
                f"{confidence[row]:.1%}",
                f"{prediction[row, targets[row]]:.1%}",
            )
            for row in order
        ],
        widths=(10, 8, 6, 11, 8, 24),
    )


def _voice_names(results: Results) -> dict[int, str]:
    """Return what voices are called, by number: their speakers, where those are known."""
    notes = results.samples.notes
    if "speakers" in notes:
        return {about["voice"]: name for name, about in notes["speakers"].items()}
    return {int(number): f"voice-{number}" for number in notes.get("voices", ())}


def _plot_voices(results: Results, voices: dict[int, str]) -> None:
    from unroll.plotting.figures import entitle, figure, save

    test, base = results.evaluation["test"], results.evaluation["baseline"]["frame_statistics"]
    drawn, axis = figure(width=7.6, height=3.8)
    names = [voices[int(key.removeprefix("voice-"))] for key in test["by_voice"]]
    # A gap separates the voices from the random split.
    mixed = "accuracy_random_split" in test
    for shift, color, label, found in (
        (-0.2, "C0", "network", test),
        (0.2, "0.6", "logistic regression on frame statistics", base),
    ):
        heights = [*found["by_voice"].values(), *([0, found["accuracy_random_split"]] if mixed else [])]
        bars = axis.bar(np.arange(len(heights)) + shift, heights, 0.38, color=color, label=label)
        axis.bar_label(bars, [f"{height:.2f}" if height else "" for height in heights], size=7)
    names += ["", "random split"] if mixed else []
    axis.set_xticks(range(len(names)), names, size=8)
    axis.set(ylabel="accuracy", ylim=(0, 1.08))
    axis.spines[["top", "right"]].set_visible(False)
    drawn.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    known = "speakers" in results.samples.notes
    entitle(
        drawn,
        f"{results.title}: mean over held-out voices {test['accuracy']:.1%}, logistic regression on frame statistics "
        f"{base['accuracy']:.1%}."
        + ("" if known else "\nVoices are clusters of recordings: the data does not name its speakers."),
        9,
    )
    save(drawn, results.folder / "voices.png")
