"""Which class a text is of: a label, or a rating that thresholds cut into classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray

from unroll import config
from unroll.domains.task import Prediction, Task, TensorSpec
from unroll.features.samples import Samples, Tensors
from unroll.metrics.classification import accuracy, confusion, labels_of, logistic_regression, macro_f1, majority
from unroll.metrics.tokens import by_group, length_groups, text_card
from unroll.models.heads import LinearHead
from unroll.models.preprocessing import Tokens

WORDS = r"\w+|[^\w\s]"
"""What the baseline counts: words and marks, so that no text is without any."""
STRENGTH = 10.0
"""C of the logistic regressions; of 1, 3 and 10 the best by cross-validation on the training split of the reviews."""
LENGTHS = (5, 10, 15, 20, 30, 50)
"""Ends of the groups of texts by number of tokens."""


def text_class_task(name: str, section: config.TextClassTask, samples: Samples) -> Task:
    """Many to one: the tokens of a text → one class."""
    classes = section.classes
    vocabulary = samples.vocabularies["text"]
    middle = None if section.thresholds is None else float(np.median(section.thresholds))
    return Task(
        name=name,
        kind=section.kind,
        topology="many_to_one",
        reader="text",
        inputs=TensorSpec("inputs", "int64", ("batch", "time"), "token numbers"),
        outputs=(
            TensorSpec("label", "int64", ("batch",), f"the most probable of {', '.join(classes)}"),
            TensorSpec("probabilities", "float32", ("batch", len(classes)), "probability of each class, 0 to 1"),
        ),
        features=0,
        make_preprocessing=Tokens,
        make_head=lambda size: LinearHead(size, len(classes)),
        # Targets are probabilities: a rating near a threshold may count for the classes on both sides.
        loss=F.cross_entropy,
        metrics=lambda prediction, rows: metrics(prediction, rows, len(classes), middle),
        per_sample_loss=lambda prediction, rows: per_sample_loss(prediction, rows, len(classes), middle),
        headline="accuracy",
        higher_is_better=True,
        baselines=lambda samples: baselines(samples, len(classes), middle),
        plot=lambda folder, title, prediction, rows, evaluation: plot(
            folder, title, prediction, rows, evaluation, classes, middle
        ),
        details={
            "labels": list(classes),
            "text": text_card("text", "text", max_tokens=section.max_tokens, truncation=section.truncation),
        },
        output="label",
        variable_length=True,
        vocabularies={"text": vocabulary},
        source_vocab_size=vocabulary.size,
    )


def metrics(prediction: Prediction, rows: Tensors, classes: int, middle: float | None) -> dict[str, Any]:
    """Accuracy, macro-F1 and figures by length.

    Args:
        prediction: Probabilities float32 [sample, class]; of baselines that decide on the side of the middle apart
            from the class, with a last column P(above the middle); or class numbers [sample].
        rows: `label` int64 [sample], `lengths`, and of ratings `rating` float32 [sample].
        classes: Number of classes.
        middle: Rating between the lower and the upper classes; None where the texts have labels.

    Returns:
        accuracy: of labels the share of right classes; of ratings the share on the right side of the middle, without
        those exactly on it. class_accuracy and macro_f1: over the classes. accuracy_rows: those that accuracy counts.
    """
    counts = confusion(rows["label"], _labels(prediction, classes), classes)
    right, counted = ~_wrong(prediction, rows, classes, middle), _counted(rows, middle)
    lengths = rows["lengths"]
    return {
        "accuracy": float(right[counted].mean()),
        "class_accuracy": accuracy(counts),
        "macro_f1": macro_f1(counts),
        "accuracy_rows": int(counted.sum()),
        "rows": len(right),
        "by_length": by_group(
            {name: inside & counted for name, inside in length_groups(lengths, LENGTHS).items()},
            lambda inside: {"accuracy": float(right[inside].mean()), "rows": int(inside.sum())},
        ),
    }


def per_sample_loss(prediction: Prediction, rows: Tensors, classes: int, middle: float | None) -> NDArray[np.float64]:
    """1 where `accuracy` counts an error, else 0; a rating exactly on the middle is an error of nobody."""
    return (_wrong(prediction, rows, classes, middle) & _counted(rows, middle)).astype(np.float64)


def _labels(prediction: Prediction, classes: int) -> Prediction:
    return labels_of(prediction[:, :classes] if prediction.ndim == 2 else prediction)


def _wrong(prediction: Prediction, rows: Tensors, classes: int, middle: float | None) -> NDArray[np.bool_]:
    if middle is None:
        wrong: NDArray[np.bool_] = _labels(prediction, classes) != rows["label"]
    else:
        wrong = _above(prediction, classes) != (rows["rating"] > middle)
    return wrong


def _above(prediction: Prediction, classes: int) -> NDArray[np.bool_]:
    """Whether a text is told to be above the middle; where neither side is likelier, it is not.

    Example:
        Of negative, neutral and positive, (0.3, 0.3, 0.4) is above: 0.4 against 0.3. Neutral says nothing.
    """
    half = classes // 2
    if prediction.ndim == 1:
        above: NDArray[np.bool_] = prediction >= classes - half
    elif prediction.shape[1] > classes:
        above = prediction[:, classes] > 0.5
    else:
        above = prediction[:, classes - half :].sum(1) > prediction[:, :half].sum(1)
    return above


def _counted(rows: Tensors, middle: float | None) -> NDArray[np.bool_]:
    if middle is None:
        return np.ones(len(rows["label"]), bool)
    counted: NDArray[np.bool_] = rows["rating"] != middle
    return counted


def baselines(samples: Samples, classes: int, middle: float | None) -> dict[str, Prediction]:
    """The most frequent class and side; logistic regression on TF-IDF of words and pairs of words.

    Of ratings both have a model for the classes and one for the side of the middle: [row, class + 1].
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    frequent, linear = [], []
    text, label = samples.tensors["text"], samples.tensors["label"]
    for fold in samples.folds:
        past = np.concatenate([fold.train, fold.valid])
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=WORDS)
        known = vectorizer.fit_transform(text[past])
        new = vectorizer.transform(text[fold.test])
        common = np.zeros((len(fold.test), classes), np.float32)
        common[:, majority(label[past])] = 1
        fitted = logistic_regression(known, label[past], classes, C=STRENGTH, max_iter=200)(new)
        if middle is not None:
            rating = samples.tensors["rating"][past]
            rated = rating != middle
            above = (rating[rated] > middle).astype(np.int64)
            common = np.column_stack([common, np.full(len(common), majority(above), np.float32)])
            sides = logistic_regression(known[rated], above, 2, C=STRENGTH, max_iter=200)(new)
            fitted = np.column_stack([fitted, sides[:, 1]])
        frequent.append(common)
        linear.append(fitted)
    return {"majority": np.concatenate(frequent), "tfidf_logistic_regression": np.concatenate(linear)}


def plot(
    folder: Path,
    title: str,
    prediction: Prediction,
    rows: Tensors,
    evaluation: Mapping[str, Any],
    classes: Sequence[str],
    middle: float | None,
) -> None:
    """Confusion matrix, quality by length, and the mistakes that the model was surest of."""
    from unroll.plotting.figures import by_group_bars, confusion_matrix
    from unroll.plotting.tables import table_figure

    test, base = evaluation["test"], evaluation["baseline"]["tfidf_logistic_regression"]
    labels = _labels(prediction, len(classes))
    caption = (
        f"{title} on {len(labels):,} test texts: right class {test['class_accuracy']:.1%}, macro-F1 "
        f"{test['macro_f1']:.3f}; TF-IDF + logistic regression {base['class_accuracy']:.1%}, {base['macro_f1']:.3f}."
    )
    if middle is not None:
        caption += (
            f"\nOf {test['accuracy_rows']:,} rated above or below {middle:g} on their side: {test['accuracy']:.1%}; "
            f"TF-IDF + logistic regression {base['accuracy']:.1%}."
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
    sure = prediction[np.arange(len(labels)), labels]
    wrong = np.flatnonzero(labels != rows["label"])
    order = wrong[np.argsort(-sure[wrong], kind="stable")][:12]
    table_figure(
        folder / "mistakes.png",
        f"{title}: the mistakes it was surest of",
        ("text", "is" if middle is None else "rated", "taken for", "sure"),
        [
            (
                rows["text"][row],
                classes[rows["label"][row]] + ("" if middle is None else f" ({rows['rating'][row]:+.1f})"),
                classes[labels[row]],
                f"{sure[row]:.0%}",
            )
            for row in order
        ],
        widths=(70, 18, 12, 5),
    )
