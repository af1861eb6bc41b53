"""Samples as batches of rows, as a reader gives them."""

import numpy as np
import pyarrow as pa
import pytest

from unroll.features.special_tokens import EOS
from unroll.inference.sample_rows import sample_rows


@pytest.mark.parametrize("kind", ["price", "price_steps", "text_class", "recording_class", "strip_columns"])
def test_samples_become_a_batch(tiny, kind):
    samples, card = tiny.samples(kind), tiny.card(kind)
    rows = samples.at(samples.folds[-1].test)
    batch = sample_rows(rows, np.arange(len(rows["inputs"])), card)
    assert len(batch) == len(rows["targets"])
    assert pa.types.is_fixed_size_list(batch["inputs"].type) == ("lengths" not in rows)
    valid = rows["lengths"][0] if "lengths" in rows else rows["inputs"].shape[1]
    assert batch["inputs"][0].values.to_pylist() == rows["inputs"][0, :valid].ravel().tolist()
    if card.prices:
        last = rows["last"] if rows["last"].ndim == 1 else rows["last"][:, -1]
        assert batch["last_price"].to_pylist() == last.astype(float).tolist()


def test_prompts_begin_with_the_first_token(tiny):
    """Windows of a stream begin anywhere; the graph continues `<eos>` and a prompt."""
    card, tensors = tiny.card("language_model"), tiny.samples("language_model").tensors
    whole = sample_rows(tensors, np.array([1]), card)["inputs"][0].as_py()
    assert whole == [EOS, *tensors["inputs"][1]]
    assert sample_rows(tensors, np.array([1]), card, prompt_steps=5)["inputs"][0].as_py() == whole[:6]
