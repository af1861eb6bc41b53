"""n-gram models against counts by hand, and as probabilities."""

import numpy as np
import pytest

from unroll.features.special_tokens import BOS, EOS, IGNORE_INDEX
from unroll.metrics.ngrams import ngram_log_probabilities

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


def test_an_unknown_context_leaves_the_lower_order():
    train = rows([A, B, A, B, A])
    known = probabilities(train, rows([B, C, A]), 2)[0]
    low = probabilities(train, rows([C]), 2)
    # c is never followed by anything: a after c is as likely as the unigram says, whatever precedes c.
    again = probabilities(train, rows([C, A]), 2)[0]
    assert known[2] == pytest.approx(again[1])
    assert (low > 0).all()


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


def test_a_trigram_knows_what_a_bigram_cannot():
    # What follows b depends on what precedes it.
    train = rows(*[[A, B, A, C, B, C]] * 20)
    test = rows([A, B, A, C, B, C])
    assert probabilities(train, test, 3)[0, 2] > 0.9
    assert probabilities(train, test, 2)[0, 2] < 0.6


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
