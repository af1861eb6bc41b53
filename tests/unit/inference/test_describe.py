"""Samples as rows, numbers that describe them, and the reference and expectations of a bundle."""

import numpy as np
import pyarrow as pa
import pytest
import tiny_bundles
from conftest import SECTIONS

from unroll.export.bundle import add_files
from unroll.features.samples import Fold
from unroll.features.special_tokens import EOS, UNK
from unroll.inference import profile as profiles
from unroll.inference.bundle import load_bundle
from unroll.inference.describe import MIN_VALID_ROWS, describe
from unroll.inference.profile import prediction_profile, profile
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


def lists(rows, kind):
    return pa.record_batch({"inputs": pa.array(rows, pa.large_list(kind))})


def fixed(values):
    flat = pa.array(values.reshape(-1))
    return pa.record_batch({"inputs": pa.FixedSizeListArray.from_arrays(flat, values[0].size)})


@pytest.fixture
def digits(tmp_path):
    return load_bundle(tiny_bundles.digits(tmp_path / "digits"))


def test_digits(digits):
    pixels = tiny_bundles.images(3)
    pixels[1:] = [[0], [255]]
    found = profile(fixed(pixels), digits.card)
    assert np.allclose(found["mean"], [pixels[0].mean(), 0, 255])
    assert np.allclose(found["ink"], [(pixels[0] > 0).mean(), 0, 1])
    empty = profile(pa.record_batch({"inputs": pa.array([], pa.list_(pa.uint8(), 784))}), digits.card)
    assert {name: len(values) for name, values in empty.items()} == {"mean": 0, "ink": 0}


def test_blocks_and_slices_make_no_difference(digits):
    pixels = tiny_bundles.images(2 * profiles._BLOCK + 5)
    whole = profile(fixed(pixels), digits.card)
    later = profile(fixed(pixels).slice(7, profiles._BLOCK + 1), digits.card)
    for name in whole:
        assert len(whole[name]) == len(pixels)
        assert (later[name] == whole[name][7 : profiles._BLOCK + 8]).all()


def test_prices(tmp_path):
    card = load_bundle(tiny_bundles.last_price(tmp_path / "b", columns=("open", "close"), window=3)).card
    closes = np.array([[100, 110, 99], [50, 50, 50]], np.float32)
    found = profile(fixed(np.stack([np.ones_like(closes), closes], axis=2)), card)
    assert found["steps"].tolist() == [3, 3]
    assert np.allclose(found["last_move"], [99 / 110 - 1, 0])
    assert np.allclose(found["volatility"], [np.std([np.log(1.1), np.log(0.9)]), 0])


@pytest.mark.parametrize(("first_token", "tokens"), [(None, [4, 1, 0, 2]), (6, [3, 0, 0, 1])])
def test_texts(tmp_path, first_token, tokens):
    card = load_bundle(tiny_bundles.classifier(tmp_path / "b", first_token=first_token)).card
    found = profile(lists([[6, UNK, 7, UNK], [6], [], [9, 9]], pa.int64()), card)
    assert found["tokens"].tolist() == tokens
    shares = np.divide([2, 0, 0, 0], tokens, out=np.full(4, np.nan), where=np.array(tokens) > 0)
    assert np.array_equal(found["unknown_share"], shares, equal_nan=True)


def test_characters_of_a_token_are_not_tokens(tmp_path):
    card = load_bundle(tiny_bundles.tagger(tmp_path / "b", characters=2)).card
    # Two tokens of two characters each; one character has the number of the unknown token.
    found = profile(lists([[6, UNK, 7, UNK, 8, 9]], pa.int64()), card)
    assert (found["tokens"].tolist(), found["unknown_share"].tolist()) == ([2], [0.5])


def test_arrays(tmp_path):
    card = load_bundle(tiny_bundles.recordings(tmp_path / "b")).card
    rows = [[1.0, 2.0, 3.0, -4.0], [], [0.5, 0.5], [np.inf, 1.0]]
    found = profile(lists(rows, pa.float32()), card)
    expected = {
        "steps": [2, 0, 1, 1],
        "mean": [0.5, np.nan, 0.5, np.inf],
        "deviation": [np.std(rows[0]), np.nan, 0, np.nan],
        "least": [-4, np.nan, 0.5, 1],
        "most": [3, np.nan, 0.5, np.inf],
    }
    for name, values in expected.items():
        assert np.array_equal(found[name], values, equal_nan=True), name
    assert np.isnan(profile(lists([[], []], pa.float32()), card)["least"]).all()


@pytest.mark.parametrize(
    ("make", "columns", "expected"),
    [
        (tiny_bundles.classifier, {"prediction": ["low", "high"]}, {"prediction": ["low", "high"]}),
        (tiny_bundles.translator, {"prediction": ["a b c", "  "]}, {"length": [3, 0]}),
        (tiny_bundles.strips, {"prediction": [[1, 2], [2]]}, {"prediction": [1, 2, 2]}),
        (tiny_bundles.last_price, {"prediction": [1.0, 2.0]}, {}),
        (
            tiny_bundles.quantiles,
            {"prediction": [1.0, 2.0], "q10": [-0.25, 0.0], "q50": [0.0, 0.0], "q90": [0.5, 1.0]},
            {"spread": [0.75, 1.0]},
        ),
    ],
)
def test_summaries_of_predictions(make, columns, expected, tmp_path):
    card = load_bundle(make(tmp_path / "b")).card
    batch = pa.record_batch({**columns, "score": pa.array([None, 0.5], pa.float32())})
    found = {name: pa.array(values).to_pylist() for name, values in prediction_profile(batch, card).items()}
    assert np.isnan(found.pop("score")[0])
    assert found == expected


def profiled(tiny, kind, index):
    return profile(sample_rows(tiny.samples(kind).tensors, index, tiny.card(kind)), tiny.card(kind))


def bounds(tiny, kind, fold):
    card = tiny.card(kind)
    return card.interface.reader.bounds(profiled(tiny, kind, fold.train), card)


@pytest.mark.parametrize("kind", SECTIONS)
def test_no_row_of_the_data_fails(tiny, kind):
    for fold in tiny.samples(kind).folds:
        expectations = bounds(tiny, kind, fold)
        assert expectations
        columns = profiled(tiny, kind, np.concatenate([fold.train, fold.valid, fold.test]))
        assert tuple(columns) == tiny.card(kind).interface.reader.profiled
        for one in expectations:
            assert not one.bounds.violated(columns[one.column]).any(), one.description


@pytest.mark.parametrize(
    ("kind", "column", "values", "failing"),
    [
        ("digits", "ink", [0.0, 1e-3], [True, False]),
        # Half of the last price is possible, a tenth of it is not.
        ("price", "last_move", [-0.5, 0.5, -0.9, 9.0], [False, False, True, True]),
        ("text_class", "unknown_share", [0.0, 0.99, 1.0], [False, False, True]),
        ("recording_class", "steps", [0, 1, 28, 29], [True, False, False, True]),
    ],
)
def test_bounds_by_hand(tiny, kind, column, values, failing):
    found = bounds(tiny, kind, tiny.samples(kind).folds[-1])
    (allowed,) = (one.bounds for one in found if one.column == column)
    assert allowed.violated(np.array(values, float)).tolist() == failing


def test_a_model_that_reads_characters_may_know_no_word(tiny):
    assert "unknown_share" not in {one.column for one in bounds(tiny, "tags", tiny.samples("tags").folds[-1])}


def test_a_reference_has_training_rows_and_predictions_for_held_out_rows(tmp_path):
    pixels = tiny_bundles.images(900).reshape(-1, 28, 28)
    # Held-out rows are light: the tiny model predicts 0.
    pixels[600:] = 1
    fold = Fold("all", np.arange(600), np.arange(600, 900), np.arange(0))
    folder = tiny_bundles.digits(tmp_path / "b")
    reference, expectations = describe(load_bundle(folder), {"inputs": pixels}, fold)
    assert reference.predictions["prediction"].counts == {"0": 300}
    assert sum(reference.rows["mean"].counts) == 600
    assert reference.rows["mean"].edges[-1] == pixels[:600].mean((1, 2)).max()
    content = {
        "reference.json": reference.model_dump(),
        "expectations.json": [one.model_dump(exclude_defaults=True) for one in expectations],
    }
    add_files(folder, content)
    again = load_bundle(folder)
    assert (again.reference, again.expectations) == (reference, expectations)
    few = Fold("all", np.arange(600), np.arange(600, 600 + MIN_VALID_ROWS - 1), np.arange(0))
    reference, _ = describe(load_bundle(folder), {"inputs": pixels}, few)
    assert sum(reference.predictions["prediction"].counts.values()) == 600


def test_unknown_words_are_counted_in_held_out_rows(tmp_path):
    inputs = np.full((400, 2), 6)
    inputs[200:, 1] = UNK
    tensors = {"inputs": inputs, "lengths": np.full(400, 2)}
    fold = Fold("all", np.arange(200), np.arange(200, 400), np.arange(0))
    reference, _ = describe(load_bundle(tiny_bundles.classifier(tmp_path / "b")), tensors, fold)
    assert reference.rows["unknown_share"].edges == (np.nextafter(0.5, 0), 0.5)
    assert reference.rows["tokens"].counts == (0, 200, 0)
