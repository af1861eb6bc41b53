"""Numbers of rows and predictions, held against the same numbers written out plainly."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tiny_bundles

from unroll.features.special_tokens import UNK
from unroll.inference import profile as profiles
from unroll.inference.batches import usable, with_reasons
from unroll.inference.bundle import Bundle, load_bundle
from unroll.inference.card import Card
from unroll.inference.profile import answers, profile, profile_of, with_profile
from unroll.inference.readers import open_file
from unroll.inference.reference import PROFILED
from unroll.inference.scorer import Scorer


def card_of(content: dict[str, object]) -> Card:
    import json

    return Card.model_validate_json(json.dumps(content))


def lists(rows: list[list[float]], kind: pa.DataType) -> pa.RecordBatch:
    return pa.record_batch({"inputs": pa.array(rows, pa.large_list(kind))})


@pytest.fixture
def digits(tmp_path: Path) -> Bundle:
    return load_bundle(tiny_bundles.digits(tmp_path / "digits"))


def images(pixels: np.ndarray) -> pa.RecordBatch:
    return pa.record_batch({"inputs": pa.FixedSizeListArray.from_arrays(pa.array(pixels.reshape(-1)), 784)})


def test_digits(digits: Bundle) -> None:
    pixels = tiny_bundles.images(3)
    pixels[1] = 0
    pixels[2] = 255
    found = profile(images(pixels), digits.card)
    assert np.allclose(found["mean"], pixels.astype(float).mean(1))
    assert np.allclose(found["ink"], (pixels > 0).mean(1))
    assert found["mean"][1:].tolist() == [0, 255]
    assert found["ink"][1:].tolist() == [0, 1]


def test_blocks_and_slices_do_not_show(digits: Bundle) -> None:
    pixels = tiny_bundles.images(2 * profiles._BLOCK + 5)
    whole = profile(images(pixels), digits.card)
    later = profile(images(pixels).slice(7, profiles._BLOCK + 1), digits.card)
    for name in whole:
        assert len(whole[name]) == len(pixels)
        assert (later[name] == whole[name][7 : profiles._BLOCK + 8]).all()


def test_no_rows_have_no_numbers(digits: Bundle) -> None:
    found = profile(images(np.empty((0, 784), np.uint8)), digits.card)
    assert {name: len(values) for name, values in found.items()} == {"mean": 0, "ink": 0}


def test_prices(tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundles.last_price(tmp_path / "b", columns=("open", "close"), window=3))
    closes = np.array([[100, 110, 99], [50, 50, 50]], float)
    values = np.stack([np.ones_like(closes), closes], axis=2).astype(np.float32).reshape(2, -1)
    batch = pa.record_batch({"inputs": pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), 6)})
    found = profile(batch, bundle.card)
    assert found["steps"].tolist() == [3, 3]
    assert np.allclose(found["last_move"], [99 / 110 - 1, 0])
    assert np.allclose(found["volatility"], [np.std([np.log(1.1), np.log(0.9)]), 0])


def test_texts() -> None:
    card = card_of(text_class(first_token=None))
    found = profile(lists([[6, UNK, 7, UNK], [UNK], [], [9, 9]], pa.int64()), card)
    assert found["tokens"].tolist() == [4, 1, 0, 2]
    assert np.array_equal(found["unknown_share"], [0.5, 1, np.nan, 0], equal_nan=True)


def test_the_token_before_every_text_is_not_counted() -> None:
    found = profile(lists([[5, UNK, 7], [5]], pa.int64()), card_of(text_class(first_token=5)))
    assert found["tokens"].tolist() == [2, 0]
    assert np.array_equal(found["unknown_share"], [0.5, np.nan], equal_nan=True)


def test_characters_of_a_token_are_no_tokens(tmp_path: Path) -> None:
    card = load_bundle(tiny_bundles.tagger(tmp_path / "b", characters=2)).card
    # Two tokens of two characters each; a character whose number is that of the unknown token.
    found = profile(lists([[6, UNK, 7, UNK, 8, 9]], pa.int64()), card)
    assert found["tokens"].tolist() == [2]
    assert found["unknown_share"].tolist() == [0.5]


def text_class(first_token: int | None) -> dict[str, object]:
    outputs = [
        tiny_bundles.tensor("label", "int64", ["batch"]),
        tiny_bundles.tensor("probabilities", "float32", ["batch", 3]),
    ]
    return tiny_bundles.text_card("text_class", first_token=first_token) | {"outputs": outputs}


def test_arrays(tmp_path: Path) -> None:
    card = load_bundle(tiny_bundles.recordings(tmp_path / "b")).card
    rows = [[1.0, 2.0, 3.0, -4.0], [], [0.5, 0.5], [np.inf, 1.0]]
    found = profile(lists(rows, pa.float32()), card)
    assert found["steps"].tolist() == [2, 0, 1, 1]
    assert np.array_equal(found["mean"], [0.5, np.nan, 0.5, np.inf], equal_nan=True)
    assert np.array_equal(found["deviation"], [np.std(rows[0]), np.nan, 0, np.nan], equal_nan=True)
    assert np.array_equal(found["least"], [-4, np.nan, 0.5, 1], equal_nan=True)
    assert np.array_equal(found["most"], [3, np.nan, 0.5, np.inf], equal_nan=True)


def test_rows_without_any_step(tmp_path: Path) -> None:
    card = load_bundle(tiny_bundles.recordings(tmp_path / "b")).card
    found = profile(lists([[], []], pa.float32()), card)
    assert found["steps"].tolist() == [0, 0]
    assert np.isnan(found["least"]).all()


def test_a_batch_carries_its_profile_and_rows_that_cannot_be_scored_have_none(digits: Bundle) -> None:
    batch = images(np.array([[255] * 784, [0] * 784, [51] * 784], np.uint8))
    batch = with_profile(with_reasons(batch, {1: "odd"}), digits.card)
    assert np.array_equal(profile_of(batch)["mean"], [255, np.nan, 51], equal_nan=True)
    assert profile_of(batch.slice(2))["ink"].tolist() == [1]
    assert {name: values.tolist() for name, values in profile_of(usable(batch)).items()} == {
        name: values.tolist() for name, values in profile(usable(batch), digits.card).items()
    }


MAKERS = {
    "digits": tiny_bundles.digits,
    "prices": tiny_bundles.last_price,
    "text": tiny_bundles.classifier,
    "arrays": tiny_bundles.recordings,
}


@pytest.mark.parametrize("reader", PROFILED)
def test_columns_are_those_that_a_reference_may_name(reader: str, tmp_path: Path) -> None:
    card = load_bundle(MAKERS[reader](tmp_path / "b")).card
    batches = {
        "digits": images(tiny_bundles.images(2)),
        "prices": pa.record_batch({"inputs": pa.FixedSizeListArray.from_arrays(pa.array(np.ones(3, np.float32)), 3)}),
        "text": lists([[6]], pa.int64()),
        "arrays": lists([[1.0, 2.0]], pa.float32()),
    }
    found = profile(batches[reader], card)
    assert tuple(found) == PROFILED[reader]
    assert {values.dtype for values in found.values()} == {np.dtype(np.float64)}
    none = with_profile(with_reasons(batches[reader], dict.fromkeys(range(len(batches[reader])), "odd")), card)
    assert np.isnan(np.concatenate(list(profile_of(none).values()))).all()


def scored(bundle: Bundle, path: Path) -> pa.RecordBatch:
    scorer = Scorer(bundle)
    return scorer.score(usable(next(open_file(path, bundle, 10))))


def test_answers_of_classes(tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundles.classifier(tmp_path / "b"))
    (tmp_path / "t.txt").write_text("a a\nc c\n")
    found = answers(scored(bundle, tmp_path / "t.txt"), bundle.card)
    assert found["prediction"].to_pylist() == ["low", "high"]
    assert ((found["score"] > 0) & (found["score"] <= 1)).all()


def test_answers_of_written_texts(tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundles.translator(tmp_path / "b"))
    (tmp_path / "t.txt").write_text("a b c\nd\n")
    predictions = scored(bundle, tmp_path / "t.txt")
    found = answers(predictions, bundle.card)
    assert found["length"].tolist() == [len(text.split()) for text in predictions["prediction"].to_pylist()]
    blank = predictions.set_column(predictions.schema.names.index("prediction"), "prediction", pa.array(["", "  "]))
    assert answers(blank, bundle.card)["length"].tolist() == [0, 0]


def test_answers_of_quantiles(tmp_path: Path) -> None:
    card = load_bundle(tiny_bundles.quantiles(tmp_path / "b")).card
    batch = pa.record_batch(
        {
            "prediction": pa.array([10.0]),
            "score": pa.array([0.01], pa.float32()),
            "q10": pa.array([-0.25], pa.float32()),
            "q50": pa.array([0.01], pa.float32()),
            "q90": pa.array([0.5], pa.float32()),
        }
    )
    assert answers(batch, card)["spread"].tolist() == [0.75]


def test_a_price_without_a_log_return_has_no_number(tmp_path: Path) -> None:
    card = load_bundle(tiny_bundles.last_price(tmp_path / "b")).card
    batch = pa.record_batch({"prediction": pa.array([-1.0, 2.0]), "score": pa.array([None, 0.5], pa.float32())})
    assert np.array_equal(answers(batch, card)["score"], [np.nan, 0.5], equal_nan=True)


def test_answers_of_labels_are_those_of_all_steps(tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundles.strips(tmp_path / "b"))
    batch = pa.record_batch({"prediction": pa.array([[1, 2], [2, 2]]), "score": pa.array([0.5, 0.25], pa.float32())})
    assert answers(batch, bundle.card)["prediction"].to_pylist() == [1, 2, 2, 2]
