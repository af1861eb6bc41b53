"""Scores and baselines of translations."""

import numpy as np
import pytest

from unroll.config.tokenizer import TokenizerConfig
from unroll.domains.pairs.metrics import baselines, per_sample_loss, score
from unroll.features.samples import Fold, Samples
from unroll.features.special_tokens import EOS, IGNORE_INDEX, PAD
from unroll.features.text import Vocabulary, pad

PAIRS = [
    ("I see the red house.", "Je vois la maison rouge."),
    ("I see the old dog.", "Je vois le vieux chien."),
    ("You like the small cat.", "Tu aimes le petit chat."),
    ("We eat bread.", "Nous mangeons du pain."),
    ("He drinks the cold water today.", "Il boit de l'eau froide aujourd'hui."),
    # Test pairs: each has one neighbor among the training pairs.
    ("I see the red dog house.", "Je vois la niche rouge."),
    ("We eat bread today, my friend.", "Nous mangeons du pain aujourd'hui."),
]
SOURCES, TARGETS = ([pair[side] for pair in PAIRS] for side in (0, 1))
VOCABULARY = Vocabulary.fit([*SOURCES, *TARGETS], TokenizerConfig(kind="bpe", vocabulary_size=200))


def samples():
    inputs, lengths = pad(VOCABULARY.encode(SOURCES))
    targets, _ = pad([[*ids, EOS] for ids in VOCABULARY.encode(TARGETS)], IGNORE_INDEX)
    tensors = {"inputs": inputs, "lengths": lengths, "targets": targets}
    tensors |= {"source": np.array(SOURCES, object), "target": np.array(TARGETS, object)}
    fold = Fold("all", np.arange(0, 4), np.array([4]), np.array([5, 6]))
    return Samples(tensors, (fold,), {"text": VOCABULARY})


def test_true_translations_score_100_whatever_follows_the_end():
    rows = samples().test_rows()
    right = np.where(rows["targets"] == IGNORE_INDEX, PAD, rows["targets"])
    found = score(right, rows, VOCABULARY)
    assert found["bleu"] == pytest.approx(100)
    assert found["chrf"] == pytest.approx(100)
    assert {name: one["rows"] for name, one in found["by_length"].items()} == {"6-7": 2}
    assert per_sample_loss(right, rows, VOCABULARY) == pytest.approx([0, 0])
    assert score(np.where(rows["targets"] == IGNORE_INDEX, 9, right), rows, VOCABULARY) == found


def test_scores_are_those_of_sacrebleu():
    from sacrebleu import corpus_bleu, corpus_chrf, sentence_chrf

    rows = samples().test_rows()
    texts, references = ["Je vois la maison rouge et verte.", "Nous mangeons."], list(rows["target"])
    prediction, _ = pad([[*ids, EOS] for ids in VOCABULARY.encode(texts)])
    found = score(prediction, rows, VOCABULARY)
    assert found["bleu"] == pytest.approx(corpus_bleu(texts, [references]).score)
    assert found["chrf"] == pytest.approx(corpus_chrf(texts, [references]).score)
    expected = [1 - sentence_chrf(one, [true]).score / 100 for one, true in zip(texts, references, strict=True)]
    assert per_sample_loss(prediction, rows, VOCABULARY) == pytest.approx(expected)
    nothing = np.full((2, 1), EOS)
    assert score(nothing, rows, VOCABULARY)["bleu"] == 0
    assert per_sample_loss(nothing, rows, VOCABULARY).tolist() == [1, 1]


def test_baselines_by_hand():
    found = baselines(samples())
    assert [VOCABULARY.decode(row) for row in found["copy"]] == [PAIRS[5][0], PAIRS[6][0]]
    assert [VOCABULARY.decode(row) for row in found["retrieval"]] == [PAIRS[0][1], PAIRS[3][1]]
