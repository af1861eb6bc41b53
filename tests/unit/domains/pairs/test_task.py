"""Figures and baselines of translation."""

import numpy as np
import pytest
import torch

from unroll.config.tokenizer import TokenizerConfig
from unroll.domains.pairs import task as translation
from unroll.domains.pairs.config import TranslationTask
from unroll.domains.task import make_task
from unroll.evaluation.evaluation import evaluate
from unroll.features.samples import Fold, Samples
from unroll.features.special_tokens import EOS, IGNORE_INDEX, PAD
from unroll.features.text import Vocabulary, pad

PAIRS = [
    ("I see the red house.", "Je vois la maison rouge."),
    ("I see the old dog.", "Je vois le vieux chien."),
    ("You like the small cat.", "Tu aimes le petit chat."),
    ("We eat bread.", "Nous mangeons du pain."),
    ("He drinks the cold water today.", "Il boit de l'eau froide aujourd'hui."),
    # Test pairs: each has one neighbour among the training pairs.
    ("I see the red dog house.", "Je vois la niche rouge."),
    ("We eat bread today, my friend.", "Nous mangeons du pain aujourd'hui."),
]


@pytest.fixture(scope="module")
def samples():
    source, target = ([pair[side] for pair in PAIRS] for side in (0, 1))
    vocabulary = Vocabulary.fit([*source, *target], TokenizerConfig(kind="bpe", vocabulary_size=200))
    inputs, lengths = pad(vocabulary.encode(source))
    targets, target_lengths = pad([[*ids, EOS] for ids in vocabulary.encode(target)], IGNORE_INDEX)
    tensors = {"inputs": inputs, "lengths": lengths, "targets": targets, "target_lengths": target_lengths}
    tensors |= {"source": np.array(source, object), "target": np.array(target, object)}
    fold = Fold("all", np.arange(0, 4), np.array([4]), np.array([5, 6]))
    return Samples(tensors, (fold,), {"text": vocabulary})


@pytest.fixture(scope="module")
def task(samples):
    section = TranslationTask(
        domain="pairs", kind="translation", dataset="pairs", tokenizer=TokenizerConfig(kind="bpe"), max_tokens=30
    )
    return make_task("english-french", section, samples)


def right(rows):
    """The true translations as a network writes them."""
    return np.where(rows["targets"] == IGNORE_INDEX, PAD, rows["targets"])


def test_the_true_translations_score_100(task, samples):
    rows = samples.test_rows()
    found = task.metrics.score(right(rows), rows)
    assert found["bleu"] == pytest.approx(100)
    assert found["chrf"] == pytest.approx(100)
    assert found["rows"] == 2
    assert "tok:13a" in found["bleu_signature"]
    assert found["chrf_signature"].startswith("nrefs:1")
    assert task.metrics.per_sample_loss(right(rows), rows) == pytest.approx([0, 0])


def test_scores_are_sacrebleus(task, samples):
    from sacrebleu import corpus_bleu, corpus_chrf, sentence_chrf

    rows = samples.test_rows()
    said = ["Je vois la maison rouge et verte.", "Nous mangeons."]
    prediction, _ = pad([[*ids, EOS] for ids in samples.vocabularies["text"].encode(said)])
    found = task.metrics.score(prediction, rows)
    assert found["bleu"] == pytest.approx(corpus_bleu(said, [list(rows["target"])]).score)
    assert found["chrf"] == pytest.approx(corpus_chrf(said, [list(rows["target"])]).score)
    expected = [1 - sentence_chrf(one, [true]).score / 100 for one, true in zip(said, rows["target"], strict=True)]
    assert task.metrics.per_sample_loss(prediction, rows) == pytest.approx(expected)


def test_nothing_said_scores_nothing(task, samples):
    rows = samples.test_rows()
    found = task.metrics.score(np.full((2, 1), EOS), rows)
    assert found["bleu"] == found["chrf"] == 0
    assert task.metrics.per_sample_loss(np.full((2, 1), EOS), rows).tolist() == [1, 1]


def test_what_stands_after_eos_is_not_read(task, samples):
    rows = samples.test_rows()
    noisy = np.where(np.arange(right(rows).shape[1] + 3) < rows["target_lengths"][:, None], 0, 9)
    noisy[:, : right(rows).shape[1]] += right(rows)
    assert task.metrics.score(noisy, rows) == task.metrics.score(right(rows), rows)


def test_quality_by_length(task, samples):
    rows = samples.test_rows()
    found = task.metrics.score(right(rows), rows)["by_length"]
    assert {name: one["rows"] for name, one in found.items()} == {"6-7": 2}


def test_baselines_by_hand(task, samples):
    found = task.metrics.baselines(samples)
    decode = samples.vocabularies["text"].decode
    assert [decode(row) for row in found["copy"]] == [PAIRS[5][0], PAIRS[6][0]]
    assert [decode(row) for row in found["retrieval"]] == [PAIRS[0][1], PAIRS[3][1]]
    assert all(row[-1] in (EOS, PAD) for row in found["copy"])


def test_retrieval_is_the_nearest_by_cosine(monkeypatch):
    from sklearn.feature_extraction.text import TfidfVectorizer

    rng = np.random.default_rng(0)
    words = np.array([f"w{number}" for number in range(30)])
    known, asked = (np.array([" ".join(rng.choice(words, 6)) for _ in range(n)], object) for n in (50, 23))
    monkeypatch.setattr(translation, "CHUNK", 10)
    vectorizer = TfidfVectorizer(ngram_range=(1, 2))
    cosines = vectorizer.fit(known).transform(asked).toarray() @ vectorizer.transform(known).toarray().T
    assert translation._nearest(known, asked).tolist() == cosines.argmax(1).tolist()


def test_the_task(task, samples):
    size = samples.vocabularies["text"].size
    assert (task.topology, task.output, task.metrics.headline) == ("sequence_to_sequence", "tokens", "bleu")
    assert (task.source_vocab_size, task.target_vocab_size, task.features) == (size, size, 0)
    assert task.metrics.higher_is_better
    assert task.variable_length
    assert not task.every_step
    assert task.details["text"]["column"] == "source"
    assert task.details["output_vocabulary"] == "text.tokenizer.json"
    assert task.details["decoding"] == task.decoding.model_dump()


def test_loss_leaves_padding_out(task):
    logits = torch.randn(2, 3, 7)
    targets = torch.tensor([[1, 2, 3], [4, IGNORE_INDEX, IGNORE_INDEX]])
    chosen = logits.log_softmax(-1)[[0, 0, 0, 1], [0, 1, 2, 0], [1, 2, 3, 4]]
    assert float(task.loss(logits, targets)) == pytest.approx(-float(chosen.mean()), rel=1e-6)


def test_plots_come_out_alike(task, samples, tmp_path):
    rows, others = samples.test_rows(), task.metrics.baselines(samples)
    evaluation = evaluate(task.metrics, others["retrieval"], others, rows)
    for name in ("one", "two"):
        task.plot(tmp_path / name, "translate-gru", others["retrieval"], rows, evaluation)
    for name in ("lengths.png", "examples.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
