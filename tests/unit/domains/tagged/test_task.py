"""Figures and baselines of tags."""

import numpy as np
import pytest

from unroll.config.tokenizer import TokenizerConfig
from unroll.domains.tagged import task as tags
from unroll.domains.tagged.config import TaggingTask
from unroll.domains.task import make_task
from unroll.evaluation.evaluation import evaluate
from unroll.features.samples import Fold, Samples
from unroll.features.special_tokens import IGNORE_INDEX, UNK
from unroll.features.text import Vocabulary, pad

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
SENTENCES = [
    ("Anna Karenina lives in Moscow", [1, 2, 0, 0, 3]),
    ("Pierre goes to New York", [1, 0, 0, 3, 4]),
    ("Moscow is large", [3, 0, 0]),
    ("Anna lives in York", [1, 0, 0, 3]),
    ("Pierre lives in Paris", [1, 0, 0, 3]),
]


def made(characters=3):
    texts = [text for text, _ in SENTENCES]
    words = Vocabulary.fit(texts[:3], TokenizerConfig(kind="split"))
    letters = Vocabulary.fit([" ".join("".join(texts))], TokenizerConfig(kind="split"))
    ids, lengths = pad(words.encode(texts))
    inputs = np.zeros((*ids.shape, 1 + characters), np.int64)
    inputs[:, :, 0] = ids
    for row, text in enumerate(texts):
        for step, token in enumerate(text.split()):
            own = letters.encode([" ".join(token[:characters])])[0]
            inputs[row, step, 1 : 1 + len(own)] = own
    targets, _ = pad([own for _, own in SENTENCES], IGNORE_INDEX)
    tensors = {"inputs": inputs, "lengths": lengths, "targets": targets, "text": np.array(texts, object)}
    fold = Fold("all", np.array([0, 1]), np.array([2]), np.array([3, 4]))
    vocabularies = {"token": words, **({"character": letters} if characters else {})}
    return Samples(tensors, (fold,), vocabularies, {"tags": TAGS, "cut": 0})


def the_task(samples, characters=3):
    section = TaggingTask(
        domain="tagged",
        kind="token_classification",
        dataset="tagged",
        tokenizer=TokenizerConfig(kind="split"),
        max_tokens=9,
        characters=characters,
    )
    return make_task("names", section, samples)


def test_figures_by_hand():
    targets = np.array([[1, 2, 0, 3, IGNORE_INDEX], [1, 0, 3, 4, 0]])
    labels = np.array([[1, 2, 0, 0, 4], [1, 2, 3, 4, 0]])
    found = tags.metrics(labels, {"targets": targets}, TAGS)
    # True: PER LOC, PER LOC. Found: PER, PER (too long), LOC. Two are right.
    assert found["entity_precision"] == pytest.approx(2 / 3)
    assert found["entity_recall"] == pytest.approx(2 / 4)
    assert found["entity_f1"] == pytest.approx(4 / 7)
    assert found["token_accuracy"] == pytest.approx(7 / 9)
    assert found["entities"] == 4
    assert found["by_type"] == {
        "LOC": {"entity_f1": pytest.approx(2 / 3), "entities": 2},
        "PER": {"entity_f1": pytest.approx(1 / 2), "entities": 2},
    }
    assert tags.per_sample_loss(labels, {"targets": targets}) == pytest.approx([1 / 4, 1 / 5])


def test_probabilities_count_as_their_labels():
    targets = np.array([[1, 2, 0, IGNORE_INDEX]])
    labels = np.array([[1, 0, 0, 3]])
    probabilities = np.eye(5, dtype=np.float32)[labels]
    assert tags.metrics(probabilities, {"targets": targets}, TAGS) == tags.metrics(labels, {"targets": targets}, TAGS)


def test_nothing_found_scores_nothing():
    targets = np.array([[1, 2, 0]])
    found = tags.metrics(np.zeros((1, 3), np.int64), {"targets": targets}, TAGS)
    assert found["entity_f1"] == found["entity_recall"] == 0
    assert found["token_accuracy"] == pytest.approx(1 / 3)


def test_sentences_without_entities():
    none = np.zeros((2, 3), np.int64)
    found = tags.metrics(none, {"targets": none}, TAGS)
    assert (found["entity_f1"], found["entities"], found["token_accuracy"], found["by_type"]) == (0, 0, 1, {})


def test_the_most_frequent_tag_of_each_token():
    samples = made()
    found = tags.baselines(samples)["most_frequent_tag"]
    # York was inside of a place; Paris is unknown, and most tokens are outside.
    assert found[:, :4].tolist() == [[1, 0, 0, 4], [1, 0, 0, 0]]
    assert samples.tensors["inputs"][4, 3, 0] == UNK
    assert (found[:, 4] == 0).all()


def test_keys_that_other_tools_read():
    samples = made()
    task, rows = the_task(samples), samples.test_rows()
    right = np.where(rows["targets"] == IGNORE_INDEX, 0, rows["targets"])
    found = evaluate(task.metrics, right, task.metrics.baselines(samples), rows)
    assert found["test"]["entity_f1"] == found["test"]["token_accuracy"] == 1
    assert found["baseline"]["most_frequent_tag"]["token_accuracy"] == pytest.approx(6 / 8)


@pytest.mark.parametrize("characters", [3, 0])
def test_the_task(characters):
    samples = made(characters)
    task = the_task(samples, characters)
    assert (task.topology, task.output, task.metrics.headline) == ("many_to_many", "labels", "entity_f1")
    assert task.every_step
    assert task.variable_length
    assert not task.causal
    assert task.inputs.shape == ("batch", "time", 1 + characters)
    assert task.source_vocab_size == samples.vocabularies["token"].size
    assert task.characters == characters
    assert task.character_vocab_size == (samples.vocabularies["character"].size if characters else 0)
    assert set(task.vocabularies) == ({"token", "character"} if characters else {"token"})
    assert task.details["labels"] == TAGS
    assert task.details["text"]["character_vocabulary"] == ("character.tokenizer.json" if characters else None)
    assert task.details["text"]["column"] == "tokens"


def test_plots_come_out_alike(tmp_path):
    samples = made()
    task, rows = the_task(samples), samples.test_rows()
    others = task.metrics.baselines(samples)
    evaluation = evaluate(task.metrics, others["most_frequent_tag"], others, rows)
    for name in ("one", "two"):
        task.plot(tmp_path / name, "tags-bilstm", others["most_frequent_tag"], rows, evaluation)
    for name in ("types.png", "mistakes.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("characters", [0, 4])
def test_baseline_with_and_without_characters(tiny, characters):
    """Without them, a token still stands in the last axis: the card, the features and the baseline agree."""
    samples, task = tiny.samples("tags", characters=characters), tiny.task("tags", characters=characters)
    assert task.inputs.shape[2] == samples.tensors["inputs"].shape[2] == 1 + characters
    rows = samples.test_rows()
    (prediction,) = task.metrics.baselines(samples).values()
    assert task.metrics.score(prediction, rows)["token_accuracy"] > 0
