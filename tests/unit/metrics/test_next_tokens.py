"""Figures and baselines of language models and melodies."""

import math

import numpy as np
import pytest
from unroll.domains.tunes.config import MelodyTask

from unroll.config.tokenizer import TokenizerConfig
from unroll.domains.articles.config import LanguageTask
from unroll.domains.task import make_task
from unroll.evaluation.evaluation import evaluate
from unroll.features.samples import Fold, Samples
from unroll.features.special_tokens import BOS, EOS, IGNORE_INDEX
from unroll.features.text import Vocabulary, pad
from unroll.metrics import next_tokens

WINDOW = 5
TUNES = ["mode:major meter:6/8 0_12 4_12 7_12 | 12_36 |", "mode:minor meter:2/4 0_6 3_6 7_12 | 0_24 |"]


def articles():
    """A text that repeats itself: train, valid and test are windows of it, one after the other."""
    text = " ".join(["the cat sees the dog and the dog sees a cat"] * 12)
    vocabulary = Vocabulary.fit([text], TokenizerConfig(kind="split", vocabulary_size=40))
    stream = np.array([EOS, *vocabulary.encode([text])[0]])
    count = (len(stream) - 1) // WINDOW
    inputs, targets = (part[: count * WINDOW].reshape(count, WINDOW) for part in (stream[:-1], stream[1:].copy()))
    targets[-1, -2:] = IGNORE_INDEX
    fold = Fold("all", np.arange(0, 16), np.arange(16, 20), np.arange(20, count))
    return Samples({"inputs": inputs, "targets": targets}, (fold,), {"text": vocabulary})


def melodies():
    notes = TUNES * 6
    vocabulary = Vocabulary.fit(notes, TokenizerConfig(kind="split", vocabulary_size=40))
    ids = vocabulary.encode(notes)
    inputs, lengths = pad([[BOS, *one] for one in ids])
    targets, _ = pad([[*one, EOS] for one in ids], IGNORE_INDEX)
    fold = Fold("all", np.arange(0, 8), np.arange(8, 10), np.arange(10, 12))
    tensors = {"inputs": inputs, "targets": targets, "lengths": lengths, "notes": np.array(notes, object)}
    return Samples(tensors, (fold,), {"notes": vocabulary})


def language_task(samples):
    section = LanguageTask(
        domain="articles",
        kind="language_model",
        dataset="articles",
        tokenizer=TokenizerConfig(kind="split"),
        window=WINDOW,
    )
    return make_task("wikitext", section, samples)


def melody_task(samples):
    return make_task("tunes", MelodyTask(kind="melody", dataset="melodies", max_tokens=50), samples)


def test_figures_by_hand():
    rows = {"targets": np.array([[6, 7, 8], [9, IGNORE_INDEX, IGNORE_INDEX]])}
    prediction = np.log(np.array([[0.5, 0.25, 0.125], [0.5, 1, 1]], np.float32))
    found = next_tokens.metrics(prediction, rows)
    assert found["nll_per_token"] == pytest.approx(7 / 4 * math.log(2))
    assert found["perplexity"] == pytest.approx(2 ** (7 / 4))
    assert found["tokens"] == 4
    assert next_tokens.per_sample_loss(prediction, rows) == pytest.approx([2 * math.log(2), math.log(2)])


def test_a_uniform_model_is_as_perplexed_as_its_vocabulary_is_large():
    rows = {"targets": np.full((3, 4), 6)}
    assert next_tokens.metrics(np.full((3, 4), -math.log(50.0)), rows)["perplexity"] == pytest.approx(50)


def test_what_stands_at_padding_counts_for_nothing():
    rows = {"targets": np.array([[6, IGNORE_INDEX]])}
    for filler in (0.0, -9.0):
        prediction = np.array([[-1.0, filler]], np.float32)
        assert next_tokens.metrics(prediction, rows)["nll_per_token"] == 1
        assert next_tokens.per_sample_loss(prediction, rows).tolist() == [1]


@pytest.mark.parametrize("made", [articles, melodies])
def test_baselines_are_better_the_longer_their_grams(made):
    samples = made()
    task = (language_task if made is articles else melody_task)(samples)
    rows = samples.test_rows()
    found = evaluate(task.metrics, task.metrics.baselines(samples)["unigram"], task.metrics.baselines(samples), rows)
    values = [one[task.metrics.headline] for one in found["baseline"].values()]
    assert len(values) == (3 if made is articles else 4)
    assert values == sorted(values, reverse=True)
    assert found["test"] == found["baseline"]["unigram"]
    for prediction in task.metrics.baselines(samples).values():
        assert prediction.shape == rows["targets"].shape
        assert (prediction[rows["targets"] == IGNORE_INDEX] == 0).all()
        assert (prediction[rows["targets"] != IGNORE_INDEX] < 0).all()


def test_grams_of_a_stream_reach_into_the_window_before():
    samples = articles()
    orders = {"trigram": 3}
    whole = next_tokens.ngram_baselines(samples, orders, 40, stream=True)["trigram"]
    apart = next_tokens.ngram_baselines(samples, orders, 40, stream=False)["trigram"]
    # The first token of a window is told by two tokens, one of which stands in the window before.
    assert whole[1:, 0].mean() > apart[1:, 0].mean()


def test_a_tune_knows_nothing_of_the_tune_before():
    samples = melodies()
    task = melody_task(samples)
    order = np.array([1, 0])
    fold = samples.folds[0]
    turned = Samples(samples.tensors, (Fold("all", fold.train, fold.valid, fold.test[order]),), samples.vocabularies)
    for name, prediction in task.metrics.baselines(samples).items():
        np.testing.assert_array_equal(task.metrics.baselines(turned)[name], prediction[order])


def test_figures_by_frequency_are_parts_of_the_whole():
    samples = articles()
    task = language_task(samples)
    rows = samples.test_rows()
    found = task.metrics.score(task.metrics.baselines(samples)["unigram"], rows)
    parts = found["by_frequency"].values()
    assert sum(part["tokens"] for part in parts) == found["tokens"] == (rows["targets"] != IGNORE_INDEX).sum()
    total = sum(part["nll_per_token"] * part["tokens"] for part in parts)
    assert total == pytest.approx(found["nll_per_token"] * found["tokens"])


def test_frequency_is_that_of_the_training_split(monkeypatch):
    from unroll.domains.articles import task as language

    monkeypatch.setattr(language, "RANKS", (1, 3))
    samples = articles()
    rows = samples.test_rows()
    found = language_task(samples).metrics(np.zeros(rows["targets"].shape), rows)["by_frequency"]
    the = samples.vocabularies["text"].tokens.index("the")
    assert list(found) == ["1-1", "2-3", f"4-{samples.vocabularies['text'].size}"]
    assert found["1-1"]["tokens"] == (rows["targets"] == the).sum()


def test_figures_by_part_of_a_tune():
    samples = melodies()
    rows = samples.test_rows()
    found = melody_task(samples).metrics(np.full(rows["targets"].shape, -1.0), rows)
    assert {name: part["tokens"] for name, part in found["by_part"].items()} == {"1-2": 4, "3-18": 14}


def test_the_tasks():
    words, tunes = language_task(articles()), melody_task(melodies())
    for task in (words, tunes):
        assert (task.topology, task.output, task.reader) == ("one_to_many", "tokens", "text")
        assert task.every_step
        assert task.causal
        assert task.source_vocab_size == task.target_vocab_size > 6
        assert not task.metrics.higher_is_better
        assert task.make_head(4).out_features == task.target_vocab_size
        assert task.details["text"]["column"] == "prompt"
        assert task.details["decoding"]["temperature"] == 0.8
    assert (words.headline, tunes.headline) == ("perplexity", "nll_per_token")
    assert (words.stateful, words.variable_length, words.steps) == (True, False, WINDOW)
    assert (tunes.stateful, tunes.variable_length) == (False, True)
    assert words.details["text"]["first_token"] == EOS
    assert tunes.details["text"]["first_token"] == BOS
    assert tunes.details["output_vocabulary"] == "notes.tokenizer.json"


@pytest.mark.parametrize(("made", "picture"), [(articles, "frequency.png"), (melodies, "parts.png")])
def test_plots_come_out_alike(made, picture, tmp_path):
    samples = made()
    task = (language_task if made is articles else melody_task)(samples)
    rows, others = samples.test_rows(), task.metrics.baselines(samples)
    prediction = others["bigram" if made is melodies else "bigram_absolute_discount"]
    evaluation = evaluate(task.metrics, prediction, others, rows)
    for name in ("one", "two"):
        task.plot(tmp_path / name, "words-lstm", prediction, rows, evaluation)
    assert (tmp_path / "one" / picture).read_bytes() == (tmp_path / "two" / picture).read_bytes()
