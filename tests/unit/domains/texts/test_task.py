"""Figures and baselines of text classes and ratings."""

import numpy as np
import pytest
import torch

from unroll.config.tokenizer import TokenizerConfig
from unroll.domains.task import make_task
from unroll.domains.texts import task as texts
from unroll.domains.texts.config import TextClassTask
from unroll.evaluation.evaluation import evaluate
from unroll.features.samples import Fold, Samples
from unroll.features.text import Vocabulary

CLASSES = ("negative", "neutral", "positive")


def section(**changes):
    content = {"classes": CLASSES, "thresholds": (-1.0, 1.0), "max_tokens": 20, **changes}
    return TextClassTask(
        domain="texts", kind="classification", dataset="reviews", tokenizer=TokenizerConfig(kind="word"), **content
    )


def made(rated=True, count=60):
    """Texts whose first word tells the class; every third sample is neutral."""
    words = ("bad", "so so", "good")
    label = np.arange(count) % 3
    text = np.array([f"{words[one]} film number {place % 7}" for place, one in enumerate(label)], object)
    vocabulary = Vocabulary.fit(text, TokenizerConfig(kind="word"))
    ids = vocabulary.encode(list(text))
    inputs = np.zeros((count, max(map(len, ids))), np.int64)
    for row, own in zip(inputs, ids, strict=True):
        row[: len(own)] = own
    tensors = {
        "inputs": inputs,
        "lengths": np.array([len(own) for own in ids]),
        "targets": np.eye(3, dtype=np.float32)[label],
        "label": label,
        "text": text,
    }
    if rated:
        # Neutral ones lean to one side or lie exactly in the middle.
        tensors["rating"] = np.array([-2.0, 0.5, 2.0])[label].astype(np.float32)
        tensors["rating"][1::6] = 0
    fold = Fold("all", np.arange(0, 36), np.arange(36, 42), np.arange(42, count))
    return Samples(tensors, (fold,), {"text": vocabulary})


def rated(*ratings):
    rating = np.array(ratings, np.float32)
    label = np.where(rating < -1, 0, np.where(rating > 1, 2, 1))
    return {"rating": rating, "label": label, "lengths": np.full(len(rating), 3)}


def test_accuracy_of_ratings_is_the_side_of_the_middle():
    rows = rated(-3, 0.5, 2, 0)
    prediction = np.array([[0.6, 0.3, 0.1], [0.2, 0.6, 0.2], [0.1, 0.6, 0.3], [0.9, 0.1, 0.0]], np.float32)
    found = texts.metrics(prediction, rows, 3, 0.0)
    # Right, a tie (which is not above), right; the last one lies on the middle and counts for nothing.
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["accuracy_rows"] == 3
    # Classes: right, right, wrong, wrong.
    assert found["class_accuracy"] == 0.5
    assert texts.per_sample_loss(prediction, rows, 3, 0.0).tolist() == [0, 1, 0, 0]


def test_a_last_column_tells_the_side_apart_from_the_class():
    rows = rated(-3, 0.5, 2)
    prediction = np.array([[1, 0, 0, 0.9], [0, 1, 0, 0.7], [0, 0, 1, 0.2]], np.float32)
    found = texts.metrics(prediction, rows, 3, 0.0)
    assert found["class_accuracy"] == found["macro_f1"] == 1
    assert found["accuracy"] == pytest.approx(1 / 3)


def test_class_numbers_count_as_predictions():
    rows = rated(-3, 0.5, 2, -0.5)
    found = texts.metrics(np.array([0, 2, 2, 1]), rows, 3, 0.0)
    assert found["accuracy"] == 1
    assert found["class_accuracy"] == 0.75


@pytest.mark.parametrize(
    ("classes", "label", "above"), [(2, 1, True), (2, 0, False), (4, 2, True), (5, 3, True), (5, 2, False)]
)
def test_upper_classes_of_any_number(classes, label, above):
    one_hot = np.eye(classes, dtype=np.float32)[[label]]
    rows = {"rating": np.array([1.0]), "label": np.array([label]), "lengths": np.array([1])}
    for prediction in (one_hot, np.array([label])):
        assert texts.metrics(prediction, rows, classes, 0.0)["accuracy"] == above


def test_accuracy_of_labels_is_exact():
    rows = {"label": np.array([0, 1, 2, 2]), "lengths": np.array([1, 6, 7, 60])}
    found = texts.metrics(np.array([0, 1, 1, 2]), rows, 3, None)
    assert found["accuracy"] == found["class_accuracy"] == 0.75
    # F1: 1, 2·1/(2 + 1) and 2·1/(2 + 1).
    assert found["macro_f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert found["by_length"] == {
        "1-5": {"accuracy": 1.0, "rows": 1},
        "6-10": {"accuracy": 0.5, "rows": 2},
        "over 50": {"accuracy": 1.0, "rows": 1},
    }
    assert texts.per_sample_loss(np.array([0, 1, 1, 2]), rows, 3, None).tolist() == [0, 0, 1, 0]


def test_the_middle_is_that_of_the_thresholds():
    """One to five stars: what counts is above or below three."""
    samples = made()
    stars = {**samples.tensors, "rating": samples.tensors["rating"] + 3}
    task = make_task("stars", section(thresholds=(2.0, 4.0)), Samples(stars, samples.folds, samples.vocabularies))
    rows = make_task("reviews", section(), samples).metrics(stars["label"], samples.tensors)
    assert task.metrics.score(stars["label"], stars) == rows


@pytest.mark.parametrize("has_ratings", [True, False])
def test_baselines(has_ratings):
    samples = made(has_ratings)
    task = make_task("reviews", section(thresholds=(-1.0, 1.0) if has_ratings else None), samples)
    rows = samples.test_rows()
    found = evaluate(task.metrics, rows["targets"], task.metrics.baselines(samples), rows)
    assert set(found["baseline"]) == {"majority", "tfidf_logistic_regression"}
    assert found["baseline"]["tfidf_logistic_regression"]["class_accuracy"] == 1
    assert found["baseline"]["tfidf_logistic_regression"]["accuracy"] == 1
    assert found["baseline"]["majority"]["class_accuracy"] == pytest.approx(1 / 3)
    assert found["test"]["macro_f1"] == 1


def test_baselines_never_see_a_test_text():
    samples = made()
    text = samples.tensors["text"].copy()
    text[samples.folds[0].test] = "unheard words alone"
    changed = Samples({**samples.tensors, "text": text}, samples.folds, samples.vocabularies)
    found = texts.baselines(changed, 3, 0.0)["tfidf_logistic_regression"]
    assert (found == found[0]).all()


def test_a_text_of_marks_alone_has_features():
    samples = made()
    text = np.array(["!!!" if one == 0 else "…" for one in samples.tensors["label"]], object)
    changed = Samples({**samples.tensors, "text": text}, samples.folds, samples.vocabularies)
    found = texts.baselines(changed, 3, None)["tfidf_logistic_regression"]
    assert (found.argmax(1) == 0).tolist() == (samples.test_rows()["label"] == 0).tolist()


def test_the_task():
    samples = made()
    task = make_task("reviews", section(truncation=False), samples)
    assert (task.topology, task.output, task.reader, task.metrics.headline) == (
        "many_to_one",
        "label",
        "text",
        "accuracy",
    )
    assert task.variable_length
    assert (task.features, task.source_vocab_size, task.target_vocab_size) == (0, samples.vocabularies["text"].size, 0)
    assert task.outputs[1].shape == ("batch", 3)
    assert task.details["labels"] == list(CLASSES)
    assert task.details["text"] == {
        "column": "text",
        "vocabulary": "text.tokenizer.json",
        "max_tokens": 20,
        "truncation": False,
        "first_token": None,
        "characters": 0,
        "character_vocabulary": None,
    }
    logits = torch.tensor([[1.0, 2.0, 0.5]])
    soft = torch.tensor([[0.25, 0.5, 0.25]])
    expected = -(logits.log_softmax(-1) * soft).sum()
    assert float(task.loss(logits, soft)) == pytest.approx(float(expected))
    assert task.make_head(8)(torch.zeros(2, 8)).shape == (2, 3)


@pytest.mark.parametrize("has_ratings", [True, False])
def test_plots_come_out_alike(has_ratings, tmp_path):
    samples = made(has_ratings)
    task = make_task("reviews", section(thresholds=(-1.0, 1.0) if has_ratings else None), samples)
    rows, others = samples.test_rows(), task.metrics.baselines(samples)
    # A text that would begin a formula, and one in a script that the font lacks.
    rows["text"] = np.array(["$5 and $x", "नमस्ते दुनिया", *rows["text"][2:]], object)
    prediction = np.roll(rows["targets"], 1, axis=1) * 0.8
    evaluation = evaluate(task.metrics, prediction, others, rows)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        task.plot(tmp_path / name, "reviews-bilstm", prediction, rows, evaluation)
    pictures = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert pictures == ["confusion.png", "lengths.png", "mistakes.png"]
    for name in pictures:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
