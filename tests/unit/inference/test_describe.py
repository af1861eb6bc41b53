"""Reference and expectations are made from training rows, and no row of the data fails them."""

import numpy as np
import pytest
import tiny_bundles
from conftest import SECTIONS

from unroll.export.bundle import add_files
from unroll.features.samples import Fold
from unroll.features.special_tokens import UNK
from unroll.inference.bundle import load_bundle
from unroll.inference.describe import MIN_VALID_ROWS, describe
from unroll.inference.profile import profile
from unroll.inference.sample_rows import sample_rows


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
