"""Metrics and baselines of text classes and ratings, computed by hand."""

import numpy as np
import pytest

from unroll.domains.texts.metrics import baselines, middle_of, per_sample_loss, score
from unroll.features.samples import Fold, Samples


def rated(*ratings):
    rating = np.array(ratings, np.float32)
    label = np.where(rating < -1, 0, np.where(rating > 1, 2, 1))
    return {"rating": rating, "label": label, "lengths": np.full(len(rating), 3)}


def test_accuracy_of_ratings_is_the_side_of_the_middle():
    rows = rated(-3, 0.5, 2, 0)
    prediction = np.array([[0.6, 0.3, 0.1], [0.2, 0.6, 0.2], [0.1, 0.6, 0.3], [0.9, 0.1, 0.0]], np.float32)
    found = score(prediction, rows, 3, 0.0)
    # Right, a tie (which is not above), right; the last one is on the middle and is not counted.
    assert (found["accuracy"], found["accuracy_rows"]) == (pytest.approx(2 / 3), 3)
    # Classes: right, right, wrong, wrong.
    assert found["class_accuracy"] == 0.5
    assert per_sample_loss(prediction, rows, 3, 0.0).tolist() == [0, 1, 0, 0]
    labels = score(np.array([0, 2, 2, 1]), rated(-3, 0.5, 2, -0.5), 3, 0.0)
    assert (labels["accuracy"], labels["class_accuracy"]) == (1, 0.75)


def test_a_last_column_predicts_the_side_apart_from_the_class():
    prediction = np.array([[1, 0, 0, 0.9], [0, 1, 0, 0.7], [0, 0, 1, 0.2]], np.float32)
    found = score(prediction, rated(-3, 0.5, 2), 3, 0.0)
    assert found["class_accuracy"] == found["macro_f1"] == 1
    assert found["accuracy"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(("classes", "label", "above"), [(2, 1, True), (2, 0, False), (4, 2, True), (5, 2, False)])
def test_upper_classes_of_any_number(classes, label, above):
    rows = {"rating": np.array([1.0]), "label": np.array([label]), "lengths": np.array([1])}
    for prediction in (np.eye(classes, dtype=np.float32)[[label]], np.array([label])):
        assert score(prediction, rows, classes, 0.0)["accuracy"] == above


def test_accuracy_of_labels_is_exact():
    rows = {"label": np.array([0, 1, 2, 2]), "lengths": np.array([1, 6, 7, 60])}
    found = score(np.array([0, 1, 1, 2]), rows, 3, None)
    assert found["accuracy"] == found["class_accuracy"] == 0.75
    # F1: 1, 2·1/(2 + 1) and 2·1/(2 + 1).
    assert found["macro_f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert found["by_length"] == {
        "1-5": {"accuracy": 1.0, "rows": 1},
        "6-10": {"accuracy": 0.5, "rows": 2},
        "over 50": {"accuracy": 1.0, "rows": 1},
    }
    assert per_sample_loss(np.array([0, 1, 1, 2]), rows, 3, None).tolist() == [0, 0, 1, 0]


def test_the_middle_is_that_of_the_thresholds(tiny):
    stars = {"classes": ["low", "middle", "high"], "thresholds": [2, 4]}
    assert middle_of(tiny.section("text_class", **stars)) == 3
    assert middle_of(tiny.section("text_class")) is None


def samples(words, rating=None):
    """Texts whose first word is that of their class, which is class 0, 1, 2, 0 …"""
    label = np.arange(60) % 3
    text = np.array([f"{words[one]} number {place % 7}" for place, one in enumerate(label)], object)
    tensors = {"text": text, "label": label}
    if rating is not None:
        tensors["rating"] = np.array(rating, np.float32)[label]
    fold = Fold("all", np.arange(0, 36), np.arange(36, 42), np.arange(42, 60))
    return Samples(tensors, (fold,))


def test_baselines_have_a_class_and_a_side_of_the_middle():
    made = samples(("bad film", "so so", "good film"), rating=(-2, 0.5, 2))
    found = baselines(made, 3, 0.0)
    label = made.test_rows()["label"]
    assert found["tfidf_logistic_regression"][:, :3].argmax(1).tolist() == label.tolist()
    assert (found["tfidf_logistic_regression"][:, 3] > 0.5).tolist() == (label > 0).tolist()
    assert found["majority"].tolist() == [[1, 0, 0, 1]] * 18


def test_baselines_read_training_texts_alone_and_punctuation_too():
    made = samples(("!!!", "…", "?"))
    found = baselines(made, 3, None)["tfidf_logistic_regression"]
    assert found.argmax(1).tolist() == made.test_rows()["label"].tolist()
    text = made.tensors["text"].copy()
    text[made.folds[0].test] = "unheard words alone"
    found = baselines(Samples({**made.tensors, "text": text}, made.folds), 3, None)["tfidf_logistic_regression"]
    assert (found == found[0]).all()
