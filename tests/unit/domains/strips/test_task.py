"""Figures and baselines of digit strips: labels of columns, and sentences."""

import numpy as np
import pytest

from unroll.config.tokenizer import TokenizerConfig
from unroll.domains.strips import captions
from unroll.domains.strips import task as strips
from unroll.domains.strips.config import StripCaptionTask, StripColumnTask
from unroll.domains.task import make_task
from unroll.evaluation.evaluation import evaluate
from unroll.features.samples import Fold, Samples
from unroll.features.special_tokens import BOS, EOS, IGNORE_INDEX, PAD
from unroll.features.text import Vocabulary, pad

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
B = strips.BETWEEN
COLUMNS = 60


def band(*runs):
    """(label, columns) … → labels of columns."""
    return np.concatenate([np.full(columns, label) for label, columns in runs])


def made(count=30, seed=0):
    """Strips of two bars each: a bar's height tells its digit."""
    rng = np.random.default_rng(seed)
    digits = rng.integers(0, 10, (count, 2))
    inputs = np.zeros((count, COLUMNS, 28), np.uint8)
    targets = np.full((count, COLUMNS), B)
    for row, pair in enumerate(digits):
        for start, digit in zip((5, 30), pair, strict=True):
            inputs[row, start : start + 12, 2 * digit : 2 * digit + 8] = 255
            targets[row, start : start + 12] = digit
    captions = [f"{WORDS[one]} {WORDS[other]}" for one, other in digits]
    vocabulary = Vocabulary.fit([" ".join(WORDS)], TokenizerConfig(kind="split"))
    ids, lengths = pad([[*one, EOS] for one in vocabulary.encode(captions)], IGNORE_INDEX)
    folds = (Fold("all", np.arange(0, count - 10), np.arange(count - 10, count - 8), np.arange(count - 8, count)),)
    columns = Samples({"inputs": inputs, "targets": targets, "digits": digits}, folds)
    told = {"inputs": inputs, "targets": ids, "target_lengths": lengths, "digits": digits}
    told["caption"] = np.array(captions, object)
    return columns, Samples(told, folds, {"caption": vocabulary})


def columns_task():
    section = StripColumnTask(domain="strips", kind="column_labels", dataset="mnist", digits=(2, 2), columns=COLUMNS)
    return make_task("strips", section)


def captions_task(samples):
    section = StripCaptionTask(domain="strips", kind="captions", dataset="mnist", digits=(2, 2), columns=COLUMNS)
    return make_task("captions", section, samples)


@pytest.mark.parametrize(
    ("labels", "digits"),
    [
        (band((B, 5), (7, 6), (B, 4), (3, 5)), [7, 3]),
        (band((7, 6), (3, 5)), [7, 3]),
        # A short run is noise, and what stands on both sides of it is one digit.
        (band((7, 6), (1, 2), (7, 6)), [7]),
        (band((7, 6), (B, 2), (7, 6)), [7]),
        (band((7, 6), (B, 3), (7, 6)), [7, 7]),
        (band((7, 6), (1, 3), (7, 6)), [7, 1, 7]),
        (band((B, 9)), []),
        (band((4, 2), (5, 2), (4, 2)), []),
        (band((0, 3)), [0]),
    ],
)
def test_digits_are_read_off_columns(labels, digits):
    assert strips.read_off(labels) == digits


def test_figures_by_hand():
    targets = np.stack([band((B, 4), (7, 6), (B, 4), (3, 6)), band((B, 2), (5, 6), (5, 6), (B, 6))])
    digits = np.array([[7, 3, IGNORE_INDEX], [5, 5, IGNORE_INDEX]])
    labels = targets.copy()
    labels[0, 4:7] = 9
    found = strips.metrics(labels, {"targets": targets, "digits": digits})
    assert found["frame_accuracy"] == pytest.approx(1 - 3 / 40)
    # 9 7 3 for 7 3 is one error; 5 for 5 5 is another, which the true labels make, too.
    assert found["digit_error_rate"] == pytest.approx(2 / 4)
    assert found["least_digit_error_rate"] == pytest.approx(1 / 4)
    assert found["exact_match"] == 0
    assert strips.per_sample_loss(labels, {"targets": targets}).tolist() == [3 / 20, 0]


def test_probabilities_count_as_their_labels():
    samples, _ = made()
    rows = samples.test_rows()
    probabilities = np.eye(strips.CLASSES, dtype=np.float32)[rows["targets"]]
    assert strips.metrics(probabilities, rows) == strips.metrics(rows["targets"], rows)
    assert strips.metrics(probabilities, rows)["frame_accuracy"] == 1
    assert strips.metrics(probabilities, rows)["exact_match"] == 1


def test_place_of_a_column_in_its_digit():
    targets = band((B, 2), (7, 5), (3, 18), (B, 1))[None]
    found = strips.place_in_digit(targets)
    assert np.flatnonzero(found["1-3"][0]).tolist() == [2, 3, 4, 7, 8, 9]
    assert np.flatnonzero(found["4-6"][0]).tolist() == [5, 6, 10, 11, 12]
    assert np.flatnonzero(found["over 15"][0]).tolist() == [22, 23, 24]
    assert np.flatnonzero(found["between"][0]).tolist() == [0, 1, 25]
    assert sum(mask.sum() for mask in found.values()) == targets.size


def test_surroundings_by_hand():
    strip = np.arange(20 * 28, dtype=np.uint8).reshape(1, 20, 28)
    found = strips.surroundings(strip, np.array([0, 0]), np.array([0, 10]))
    assert found.shape == (2, 15 * 28)
    # Seven columns of paper stand before the first one.
    assert (found[0, : 7 * 28] == 0).all()
    np.testing.assert_allclose(found[0, 7 * 28 : 8 * 28], strip[0, 0] / 255)
    np.testing.assert_allclose(found[1], strip[0, 3:18].ravel() / 255)


def test_baselines_of_columns(monkeypatch):
    monkeypatch.setattr(strips, "FITTED", 1000)
    samples, _ = made(60)
    rows = samples.test_rows()
    found = strips.baselines(samples)
    assert (found["majority"] == B).all()
    linear = strips.metrics(found["logistic_regression"], rows)
    assert linear["frame_accuracy"] > 0.9 > strips.metrics(found["majority"], rows)["frame_accuracy"]
    assert found["logistic_regression"].shape == rows["targets"].shape


def test_the_tasks():
    _, told = made()
    columns, sentences = columns_task(), captions_task(told)
    assert (columns.topology, columns.output, columns.headline) == ("many_to_many", "labels", "frame_accuracy")
    assert columns.every_step
    assert not columns.causal
    assert columns.make_head(4).out_features == 11
    assert (sentences.topology, sentences.output, sentences.headline) == ("one_to_many", "tokens", "exact_match")
    assert (sentences.source_vocab_size, sentences.target_vocab_size) == (0, 16)
    assert sentences.decoding.max_length == 8
    assert sentences.details["output_vocabulary"] == "caption.tokenizer.json"
    for task in (columns, sentences):
        assert (task.features, task.steps, task.input_steps, task.reader) == (28, COLUMNS, COLUMNS, "arrays")
        assert task.inputs.shape == ("batch", COLUMNS, 28)
        assert task.details["array"] == {"column": "pixels", "variable_length": False}
        assert not task.variable_length


def test_figures_of_sentences_by_hand():
    true = np.array([[7, 8, EOS], [9, 9, EOS], [6, EOS, IGNORE_INDEX]])
    said = np.array([[7, 8, EOS, PAD], [9, EOS, PAD, PAD], [6, 6, 6, 6]])
    found = captions.metrics(said, {"targets": true})
    assert found["exact_match"] == pytest.approx(1 / 3)
    # One word is missing, and three are too many, of five.
    assert found["digit_error_rate"] == pytest.approx(4 / 5)
    assert found["by_digits"]["1"] == {"exact_match": 0.0, "digit_error_rate": 3.0, "rows": 1}
    assert found["by_digits"]["2"] == {"exact_match": 0.5, "digit_error_rate": 0.25, "rows": 2}
    assert captions.per_sample_loss(said, {"targets": true}).tolist() == [0, 1, 1]


def test_baselines_of_sentences_by_hand():
    _, samples = made(40)
    inputs = samples.tensors["inputs"].copy()
    fold = samples.folds[0]
    # Each test strip is a training strip with a speck of dirt.
    inputs[fold.test] = inputs[fold.train[:8]]
    inputs[fold.test, 0, 0] = 40
    targets = samples.tensors["targets"].copy()
    targets[fold.train[10:]] = targets[fold.train[10]]
    changed = Samples({**samples.tensors, "inputs": inputs, "targets": targets}, samples.folds, samples.vocabularies)
    found = captions.baselines(changed)
    assert found["nearest_strip"][:, :3].tolist() == targets[fold.train[:8]].tolist()
    assert (found["most_frequent"][:, :3] == targets[fold.train[10]]).all()
    assert BOS not in found["nearest_strip"]


def test_the_nearest_strip_is_the_nearest_in_any_chunk(monkeypatch):
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 256, (50, COLUMNS, 28)).astype(np.uint8)
    whole = inputs.reshape(50, -1).astype(np.float64)
    distance = ((whole[40:, None] - whole[None, :40]) ** 2).sum(-1)
    monkeypatch.setattr(captions, "CHUNK", 3)
    assert captions._nearest(inputs, np.arange(40), np.arange(40, 50)).tolist() == distance.argmin(1).tolist()


@pytest.mark.parametrize("kind", ["columns", "captions"])
def test_plots_come_out_alike(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(strips, "FITTED", 500)
    columns, told = made()
    samples, task = (columns, columns_task()) if kind == "columns" else (told, captions_task(told))
    rows, others = samples.test_rows(), task.metrics.baselines(samples)
    prediction = np.roll(others["logistic_regression" if kind == "columns" else "nearest_strip"], 1, axis=0)
    evaluation = evaluate(task.metrics, prediction, others, rows)
    for name in ("one", "two"):
        task.plot(tmp_path / name, "strips-bilstm", prediction, rows, evaluation)
    pictures = {"columns": ["confusion.png", "places.png", "strips.png"], "captions": ["examples.png", "lengths.png"]}
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == pictures[kind]
    for name in pictures[kind]:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_sentences_that_are_all_right_are_drawn_too(tmp_path):
    _, samples = made()
    task, rows = captions_task(samples), samples.test_rows()
    right = np.where(rows["targets"] < 0, PAD, rows["targets"])
    task.plot(tmp_path, "x", right, rows, evaluate(task.metrics, right, task.metrics.baselines(samples), rows))
    assert (tmp_path / "examples.png").exists()
