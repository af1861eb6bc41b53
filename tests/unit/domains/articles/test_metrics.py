"""Metrics and baselines of a language model."""

import numpy as np
import pytest

from unroll.config.tokenizer import TokenizerConfig
from unroll.domains.articles import metrics as language
from unroll.features.samples import Fold, Samples
from unroll.features.special_tokens import EOS, IGNORE_INDEX
from unroll.features.text import Vocabulary

WINDOW = 5


@pytest.fixture(scope="module")
def samples():
    """A text that repeats itself: train, valid and test are windows of it, one after the other."""
    text = " ".join(["the cat sees the dog and the dog sees a cat"] * 12)
    vocabulary = Vocabulary.fit([text], TokenizerConfig(kind="split", vocabulary_size=40))
    stream = np.array([EOS, *vocabulary.encode([text])[0]])
    count = (len(stream) - 1) // WINDOW
    inputs, targets = (part[: count * WINDOW].reshape(count, WINDOW) for part in (stream[:-1], stream[1:].copy()))
    targets[-1, -2:] = IGNORE_INDEX
    fold = Fold("all", np.arange(0, 16), np.arange(16, 20), np.arange(20, count))
    return Samples({"inputs": inputs, "targets": targets}, (fold,), {"text": vocabulary})


def test_longer_ngrams_are_better_baselines(tiny, samples):
    metrics, rows = language.make_metrics(tiny.section("language_model"), samples), samples.test_rows()
    found = metrics.baselines(samples)
    values = [metrics.score(prediction, rows)["perplexity"] for prediction in found.values()]
    assert len(values) == 3
    assert values == sorted(values, reverse=True)
    for prediction in found.values():
        assert ((prediction < 0) == (rows["targets"] != IGNORE_INDEX)).all()


def test_metrics_by_frequency_in_training(tiny, samples, monkeypatch):
    monkeypatch.setattr(language, "RANKS", (1, 3))
    rows, vocabulary = samples.test_rows(), samples.vocabularies["text"]
    metrics = language.make_metrics(tiny.section("language_model"), samples)
    found = metrics.score(metrics.baselines(samples)["unigram"], rows)
    parts = found["by_frequency"]
    assert list(parts) == ["1-1", "2-3", f"4-{vocabulary.size}"]
    assert parts["1-1"]["tokens"] == (rows["targets"] == vocabulary.tokens.index("the")).sum()
    assert sum(part["tokens"] for part in parts.values()) == found["tokens"] == (rows["targets"] != IGNORE_INDEX).sum()
    total = sum(part["nll_per_token"] * part["tokens"] for part in parts.values())
    assert total == pytest.approx(found["nll_per_token"] * found["tokens"])
