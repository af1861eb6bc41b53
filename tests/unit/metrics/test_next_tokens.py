"""Metrics of next-token probabilities, computed by hand."""

import math

import numpy as np
import pytest

from unroll.features.samples import Fold, Samples
from unroll.features.special_tokens import IGNORE_INDEX
from unroll.metrics import next_tokens


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
