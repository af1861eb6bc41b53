"""Numbers that describe rows and predictions, computed by hand."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tiny_bundles

from unroll.features.special_tokens import UNK
from unroll.inference import profile as profiles
from unroll.inference.bundle import Bundle, load_bundle
from unroll.inference.profile import prediction_profile, profile


def lists(rows: list[list[float]], kind: pa.DataType) -> pa.RecordBatch:
    return pa.record_batch({"inputs": pa.array(rows, pa.large_list(kind))})


def fixed(values: np.ndarray) -> pa.RecordBatch:
    flat = pa.array(values.reshape(-1))
    return pa.record_batch({"inputs": pa.FixedSizeListArray.from_arrays(flat, values[0].size)})


@pytest.fixture
def digits(tmp_path: Path) -> Bundle:
    return load_bundle(tiny_bundles.digits(tmp_path / "digits"))


def test_digits(digits: Bundle) -> None:
    pixels = tiny_bundles.images(3)
    pixels[1:] = [[0], [255]]
    found = profile(fixed(pixels), digits.card)
    assert np.allclose(found["mean"], [pixels[0].mean(), 0, 255])
    assert np.allclose(found["ink"], [(pixels[0] > 0).mean(), 0, 1])
    empty = profile(pa.record_batch({"inputs": pa.array([], pa.list_(pa.uint8(), 784))}), digits.card)
    assert {name: len(values) for name, values in empty.items()} == {"mean": 0, "ink": 0}


def test_blocks_and_slices_make_no_difference(digits: Bundle) -> None:
    pixels = tiny_bundles.images(2 * profiles._BLOCK + 5)
    whole = profile(fixed(pixels), digits.card)
    later = profile(fixed(pixels).slice(7, profiles._BLOCK + 1), digits.card)
    for name in whole:
        assert len(whole[name]) == len(pixels)
        assert (later[name] == whole[name][7 : profiles._BLOCK + 8]).all()


def test_prices(tmp_path: Path) -> None:
    card = load_bundle(tiny_bundles.last_price(tmp_path / "b", columns=("open", "close"), window=3)).card
    closes = np.array([[100, 110, 99], [50, 50, 50]], np.float32)
    found = profile(fixed(np.stack([np.ones_like(closes), closes], axis=2)), card)
    assert found["steps"].tolist() == [3, 3]
    assert np.allclose(found["last_move"], [99 / 110 - 1, 0])
    assert np.allclose(found["volatility"], [np.std([np.log(1.1), np.log(0.9)]), 0])


@pytest.mark.parametrize(("first_token", "tokens"), [(None, [4, 1, 0, 2]), (6, [3, 0, 0, 1])])
def test_texts(tmp_path: Path, first_token: int | None, tokens: list[float]) -> None:
    card = load_bundle(tiny_bundles.classifier(tmp_path / "b", first_token=first_token)).card
    found = profile(lists([[6, UNK, 7, UNK], [6], [], [9, 9]], pa.int64()), card)
    assert found["tokens"].tolist() == tokens
    shares = np.divide([2, 0, 0, 0], tokens, out=np.full(4, np.nan), where=np.array(tokens) > 0)
    assert np.array_equal(found["unknown_share"], shares, equal_nan=True)


def test_characters_of_a_token_are_not_tokens(tmp_path: Path) -> None:
    card = load_bundle(tiny_bundles.tagger(tmp_path / "b", characters=2)).card
    # Two tokens of two characters each; one character has the number of the unknown token.
    found = profile(lists([[6, UNK, 7, UNK, 8, 9]], pa.int64()), card)
    assert (found["tokens"].tolist(), found["unknown_share"].tolist()) == ([2], [0.5])


def test_arrays(tmp_path: Path) -> None:
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
def test_summaries_of_predictions(make: object, columns: dict, expected: dict, tmp_path: Path) -> None:
    card = load_bundle(make(tmp_path / "b")).card  # type: ignore[operator]
    batch = pa.record_batch({**columns, "score": pa.array([None, 0.5], pa.float32())})
    found = {name: pa.array(values).to_pylist() for name, values in prediction_profile(batch, card).items()}
    assert np.isnan(found.pop("score")[0])
    assert found == expected
