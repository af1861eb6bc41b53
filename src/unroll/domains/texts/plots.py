"""Plots of text classification."""

from typing import cast

import numpy as np

from unroll.domains.texts.config import TextClassTask
from unroll.domains.texts.metrics import class_numbers, middle_of
from unroll.metrics.classification import confusion
from unroll.plotting.results import Results


def plot(results: Results) -> None:
    """Plot the confusion matrix, accuracy by length, and the most confident mistakes."""
    from unroll.plotting.figures import by_group_bars, confusion_matrix
    from unroll.plotting.tables import table_figure

    section = cast(TextClassTask, results.section)
    classes, middle = section.classes, middle_of(section)
    folder, title, prediction, rows = results.folder, results.title, results.prediction, results.rows
    evaluation = results.evaluation
    test, base = evaluation["test"], evaluation["baseline"]["tfidf_logistic_regression"]
    labels = class_numbers(prediction, len(classes))
    caption = (
        f"{title} on {len(labels):,} test texts: accuracy {test['accuracy']:.1%}, macro-F1 "
        f"{test['macro_f1']:.3f}; TF-IDF + logistic regression {base['accuracy']:.1%}, {base['macro_f1']:.3f}."
    )
    if test.get("polarity_rows"):
        caption += (
            f"\nRight side of {middle:g} for {test['polarity_rows']:,} ratings: {test['polarity_accuracy']:.1%}; "
            f"TF-IDF + logistic regression {base['polarity_accuracy']:.1%}."
        )
    confusion_matrix(
        folder / "confusion.png",
        caption,
        confusion(rows["label"], labels, len(classes)),
        classes,
    )
    by_group_bars(
        folder / "lengths.png",
        f"{title}: accuracy by number of tokens",
        {
            "network": test["by_length"],
            "TF-IDF + logistic regression": base["by_length"],
            "majority": evaluation["baseline"]["majority"]["by_length"],
        },
        "accuracy",
        xlabel="tokens (texts)",
    )
    confidence = prediction[np.arange(len(labels)), labels]
    wrong = np.flatnonzero(labels != rows["label"])
    order = wrong[np.argsort(-confidence[wrong], kind="stable")][:12]
    table_figure(
        folder / "mistakes.png",
        f"{title}: the most confident mistakes",
        ("text", "label" if middle is None else "rating", "prediction", "prob."),
        [
            (
                rows["text"][row],
                classes[rows["label"][row]] + ("" if middle is None else f" ({rows['rating'][row]:+.1f})"),
                classes[labels[row]],
                f"{confidence[row]:.0%}",
            )
            for row in order
        ],
        widths=(70, 18, 12, 5),
    )
