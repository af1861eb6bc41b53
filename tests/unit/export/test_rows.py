"""Samples as rows that a reader could have given."""

import numpy as np
import pyarrow as pa
import pytest
import tiny_bundles

from unroll.export.rows import rows_of
from unroll.features.special_tokens import EOS
from unroll.inference.bundle import load_bundle


@pytest.mark.parametrize("kind", ["price", "price_steps", "log_return", "recording_class", "strip_columns"])
def test_rows_of_every_reader_become_a_batch(tiny, tmp_path, kind):
    samples = tiny.samples(kind)
    rows = samples.at(samples.folds[-1].test)
    make = {"recording_class": tiny_bundles.recordings, "strip_columns": lambda folder: tiny_bundles.strips(folder, 70)}
    card = load_bundle(make.get(kind, tiny_bundles.last_price)(tmp_path / "b")).card
    batch = rows_of(rows, np.arange(len(rows["inputs"])), card)
    assert len(batch) == len(rows["targets"])
    flat = batch.column("inputs")[0].values.to_numpy()
    valid = rows["lengths"][0] if card.takes_lengths else rows["inputs"].shape[1]
    assert flat.tolist() == rows["inputs"][0, :valid].reshape(-1).tolist()
    if card.reader == "prices":
        last = rows["last"][0] if rows["last"].ndim == 1 else rows["last"][0, -1]
        assert batch.column("last_price")[0].as_py() == pytest.approx(float(last))


def test_prompts_begin_as_prompts_do(tiny):
    """Windows of a stream begin anywhere; the model is asked for what follows `<eos>` and a prompt."""
    about, tensors = tiny.card("language_model"), tiny.samples("language_model").tensors
    whole = rows_of(tensors, np.array([1]), about)["inputs"][0].as_py()
    prompt = rows_of(tensors, np.array([1]), about, prompt_steps=5)["inputs"][0].as_py()
    assert whole == [EOS, *tensors["inputs"][1]]
    assert prompt == whole[:6]


def test_tunes_have_their_beginning_already(tiny):
    about, tensors = tiny.card("melody"), tiny.samples("melody").tensors
    length = tensors["lengths"][0]
    assert rows_of(tensors, np.array([0]), about)["inputs"][0].as_py() == tensors["inputs"][0, :length].tolist()


def test_prices_carry_the_last_known_one(tiny):
    tensors = tiny.samples("price_steps").tensors
    batch = rows_of(tensors, np.array([3, 5]), tiny.card("price_steps"))
    assert batch["last_price"].to_pylist() == tensors["last"][[3, 5], -1].astype(float).tolist()
    assert pa.types.is_fixed_size_list(batch["inputs"].type)
