"""Metrics that domains share, and n-gram models, computed by hand."""

import math

import numpy as np
import pytest

from unroll.features.samples import Fold, Samples
from unroll.features.special_tokens import BOS, EOS, IGNORE_INDEX
from unroll.metrics import classification, next_tokens
from unroll.metrics.entities import entity_scores, find_entities
from unroll.metrics.metrics import Metrics
from unroll.metrics.ngrams import ngram_log_probabilities


def test_confusion_by_hand():
    counts = classification.confusion(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert classification.accuracy(counts) == 0.5
    # F1: 0 has TP 1, FP 1, FN 1; 1 has TP 1, FP 1; 2 has FN 1 alone.
    assert classification.macro_f1(counts) == pytest.approx((2 / 4 + 2 / 3 + 0) / 3)
    assert classification.majority(np.array([2, 1, 1, 2, 0])) == 1


def test_logistic_regression_of_several_classes_and_of_one():
    predict = classification.logistic_regression(np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 2, 2]), 4)
    found = predict(np.array([[-3.0], [3.0]]))
    assert found.argmax(1).tolist() == [0, 2]
    # Classes that training lacks have no probability.
    assert (found[:, [1, 3]] == 0).all()
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)
    single = classification.logistic_regression(np.zeros((3, 1)), np.full(3, 1), 2)
    assert single(np.zeros((2, 1))).tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize(
    ("tags", "entities"),
    [
        ("B-PER I-PER O B-LOC", [("PER", 0, 1), ("LOC", 3, 3)]),
        ("B-PER B-PER", [("PER", 0, 0), ("PER", 1, 1)]),
        ("I-PER I-PER", [("PER", 0, 1)]),
        ("B-PER I-LOC", [("PER", 0, 0), ("LOC", 1, 1)]),
        ("O I-MISC I-MISC", [("MISC", 1, 2)]),
        ("O O", []),
        ("", []),
    ],
)
def test_entities(tags, entities):
    assert find_entities(tags.split()) == entities


def test_published_example():
    true = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    predicted = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    total, by_type = entity_scores(true, predicted)
    assert (total.precision, total.recall, total.f1, total.count) == (0.5, 0.5, 0.5, 2)
    assert (by_type["MISC"].f1, by_type["PER"].f1) == (0.0, 1.0)


@pytest.mark.parametrize("filler", [1.0, 7.0])
def test_score_by_hand_whatever_is_at_padding(filler):
    rows = {"targets": np.array([[6, 7, 8], [9, IGNORE_INDEX, IGNORE_INDEX]])}
    prediction = np.log(np.array([[0.5, 0.25, 0.125], [0.5, filler, filler]], np.float32))
    found = next_tokens.score_by_group(lambda rows: {}, "groups")(prediction, rows)
    assert found["nll_per_token"] == pytest.approx(7 / 4 * math.log(2))
    assert found["perplexity"] == pytest.approx(2 ** (7 / 4))
    assert found["tokens"] == 4
    assert next_tokens.per_sample_loss(prediction, rows) == pytest.approx([2 * math.log(2), math.log(2)])


def test_ngrams_of_a_stream_reach_into_the_window_before():
    stream = np.array([6, 7, 8, 9] * 40)
    tensors = {"inputs": stream[:-4].reshape(-1, 3), "targets": stream[1:-3].reshape(-1, 3)}
    samples = Samples(tensors, (Fold("all", np.arange(30), np.arange(0), np.arange(30, 52)),))
    whole, apart = (
        next_tokens.ngram_baselines(samples, {"trigram": 3}, 10, stream=stream)["trigram"] for stream in (True, False)
    )
    # The first token of a window depends on two tokens, one of which is in the window before.
    assert whole[1:, 0].mean() > apart[1:, 0].mean()
    # Where rows are not one stream, their order makes no difference.
    turned = Samples(tensors, (Fold("all", np.arange(30), np.arange(0), np.arange(51, 29, -1)),))
    again = next_tokens.ngram_baselines(turned, {"trigram": 3}, 10, stream=False)["trigram"]
    np.testing.assert_array_equal(again, apart[::-1])


SIZE = 9
A, B, C = 6, 7, 8


def rows(*sequences):
    """Sequences of tokens → inputs that begin with <bos> and targets that end with <eos>, padded."""
    steps = max(map(len, sequences)) + 1
    inputs, targets = np.zeros((len(sequences), steps), np.int64), np.full((len(sequences), steps), IGNORE_INDEX)
    for place, tokens in enumerate(sequences):
        inputs[place, : len(tokens) + 1] = [BOS, *tokens]
        targets[place, : len(tokens) + 1] = [*tokens, EOS]
    return inputs, targets


def probabilities(train, test, order):
    return np.exp(ngram_log_probabilities(train, test, order, SIZE).astype(np.float64))


def test_unigram_by_hand():
    # Targets: a a a b <eos>; b and <eos> occur once, none twice, so the discount is the default of a half.
    train = rows([A, A, A, B])
    found = probabilities(train, rows([A, B, C]), 1)[0]
    freed = 0.5 * 3 / 5 / SIZE
    assert found == pytest.approx([2.5 / 5 + freed, 0.5 / 5 + freed, freed, 0.5 / 5 + freed])


def test_bigram_by_hand():
    # Bigrams: <bos>·a 2, a·b 2, a·c 1, b·a 1, b·<eos> 1, c·<eos> 1; n1 = 4, n2 = 2, so D = 4 / 8.
    train = rows([A, B, A, C], [A, B])
    # Unigrams by the number of tokens before them: a 2 (<bos>, b), b 1, c 1, <eos> 2; n1 = 2, n2 = 2, so D = 2 / 6.
    low = 2 / 6
    uniform = low * 4 / 6 / SIZE
    unigram = {A: (2 - low) / 6 + uniform, B: (1 - low) / 6 + uniform, C: (1 - low) / 6 + uniform}
    found = probabilities(train, rows([A, B, C]), 2)[0]
    assert found[0] == pytest.approx((2 - 0.5) / 2 + 0.5 * 1 / 2 * unigram[A])
    assert found[1] == pytest.approx((2 - 0.5) / 3 + 0.5 * 2 / 3 * unigram[B])
    # b·c was never seen: all that the two kinds of bigrams after b gave up.
    assert found[2] == pytest.approx(0.5 * 2 / 2 * unigram[C])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_of_all_tokens_sum_to_one(order):
    rng = np.random.default_rng(0)
    train = rows(*(rng.integers(A, SIZE, 30).tolist() for _ in range(4)))
    for context in ([A, B], [C, C], [B, A]):
        inputs = np.tile([BOS, *context], (SIZE, 1))
        targets = np.full((SIZE, 3), IGNORE_INDEX)
        targets[:, 2] = np.arange(SIZE)
        found = ngram_log_probabilities(train, (inputs, targets), order, SIZE)
        assert np.exp(found[:, 2]).sum() == pytest.approx(1, rel=1e-6)
        assert (found[:, :2] == 0).all()


def test_padding_is_not_counted():
    short = rows([A, B])
    train = rows([A, B, C], [B, A])
    padded = (np.pad(train[0], ((0, 0), (0, 5))), np.pad(train[1], ((0, 0), (0, 5)), constant_values=IGNORE_INDEX))
    for order in (1, 2, 3):
        one = ngram_log_probabilities(train, short, order, SIZE)
        two = ngram_log_probabilities(padded, short, order, SIZE)
        assert one.tobytes() == two.tobytes()
        assert (one.shape, one.dtype) == ((1, 3), np.float32)


def test_ngrams_whose_number_does_not_fit_into_64_bits():
    train = rows([A, B, C])
    assert np.isfinite(ngram_log_probabilities(train, train, 4, 50_000)).all()
    with pytest.raises(ValueError, match="50000"):
        ngram_log_probabilities(train, train, 5, 50_000)


@pytest.mark.parametrize(
    ("higher_is_better", "maximum", "value", "reference", "loss"),
    [(True, 1, 0.97, 0.98, 0.01), (True, 100, 29.5, 30, 0.005), (False, 1, 101, 100, 0.01), (False, 1, 99, 100, -0.01)],
)
def test_loss_of_a_share_and_of_an_error(higher_is_better, maximum, value, reference, loss):
    metrics = Metrics("x", higher_is_better, *[None] * 3, "mcnemar", maximum=maximum)
    assert metrics.loss(value, reference) == pytest.approx(loss)
