"""What travels with a bundle: made of training rows, for every kind of task, and so that none of them fails it."""

import dataclasses

import numpy as np
import pytest
import tiny_bundles
from conftest import SECTIONS

from unroll.export.bundle import add
from unroll.export.reference import _ENOUGH, describe, expectations_of
from unroll.export.rows import rows_of
from unroll.features.samples import Fold
from unroll.features.special_tokens import UNK
from unroll.inference.bundle import load_bundle
from unroll.inference.profile import profile
from unroll.inference.reference import PROFILED

every_kind = pytest.mark.parametrize("kind", SECTIONS)


def profiled(tiny, kind, index):
    about = tiny.card(kind)
    return profile(rows_of(tiny.samples(kind).tensors, index, about), about)


def fails(values, options):
    low, high = options.min_value, options.max_value
    wrong = np.zeros(len(values), bool)
    if low is not None:
        wrong |= (values <= low) if options.strict_min else (values < low)
    if high is not None:
        wrong |= (values >= high) if options.strict_max else (values > high)
    return wrong | np.isnan(values)


@every_kind
def test_no_row_of_the_data_fails(tiny, kind):
    for fold in tiny.samples(kind).folds:
        expectations = expectations_of(profiled(tiny, kind, fold.train), tiny.card(kind))
        assert expectations
        for split in (fold.train, fold.valid, fold.test):
            if not len(split):
                continue
            columns = profiled(tiny, kind, split)
            for one in expectations:
                assert not fails(columns[one.column], one.options).any(), one.what


@every_kind
def test_columns_are_those_of_the_reader(tiny, kind):
    about = tiny.card(kind)
    fold = tiny.samples(kind).folds[-1]
    columns = profiled(tiny, kind, fold.train)
    assert tuple(columns) == PROFILED[about.reader]
    assert {one.column for one in expectations_of(columns, about)} <= set(columns)


def allowed(tiny, kind, column):
    fold = tiny.samples(kind).folds[-1]
    found = expectations_of(profiled(tiny, kind, fold.train), tiny.card(kind))
    return next(one.options for one in found if one.column == column)


def test_a_blank_image_is_garbage(tiny):
    assert fails(np.array([0.0, 1e-3]), allowed(tiny, "digits", "ink")).tolist() == [True, False]


def test_half_the_price_is_no_garbage_but_a_tenth_is(tiny):
    moves = np.array([-0.5, 0.5, -0.9, 9.0])
    assert fails(moves, allowed(tiny, "price", "last_move")).tolist() == [False, False, True, True]


def test_a_text_of_unknown_words_is_garbage(tiny):
    assert fails(np.array([0.0, 0.99, 1.0]), allowed(tiny, "text_class", "unknown_share")).tolist() == [
        False,
        False,
        True,
    ]


def test_whoever_reads_characters_may_know_no_word(tiny):
    fold = tiny.samples("tags").folds[-1]
    found = expectations_of(profiled(tiny, "tags", fold.train), tiny.card("tags"))
    assert "unknown_share" not in {one.column for one in found}


def test_recordings_may_be_longer_and_louder_within_reason(tiny):
    fold = tiny.samples("recording_class").folds[-1]
    columns = profiled(tiny, "recording_class", fold.train)
    low, high, longest = columns["least"].min(), columns["most"].max(), columns["steps"].max()
    steps = allowed(tiny, "recording_class", "steps")
    assert fails(np.array([0, 1, 2 * longest, 2 * longest + 1]), steps).tolist() == [True, False, False, True]
    most = allowed(tiny, "recording_class", "most")
    assert fails(np.array([high + 0.9 * (high - low), high + 1.1 * (high - low), np.inf]), most).tolist() == [
        False,
        True,
        True,
    ]


# With a graph: references as they are counted and read back


def test_a_reference_tells_of_training_rows_and_held_out_answers(tmp_path):
    pixels = tiny_bundles.images(900).reshape(-1, 28, 28)
    # Held out rows are light: the tiny model calls them 0.
    pixels[600:] = 1
    fold = Fold("all", np.arange(600), np.arange(600, 900), np.arange(0))
    folder = tiny_bundles.digits(tmp_path / "b")
    reference, expectations = describe(load_bundle(folder), {"inputs": pixels}, fold)
    assert reference.answers["prediction"].counts == {"0": 300}
    assert sum(reference.rows["mean"].counts) == 600
    assert reference.rows["mean"].edges[-1] == pixels[:600].mean((1, 2)).max()
    content = {
        "reference.json": reference.model_dump(),
        "expectations.json": [one.model_dump(exclude_defaults=True) for one in expectations],
    }
    add(folder, content)
    again = load_bundle(folder)
    assert again.reference == reference
    assert again.expectations == expectations


def test_too_few_held_out_rows_are_not_asked(tmp_path):
    pixels = tiny_bundles.images(300).reshape(-1, 28, 28)
    pixels[200:] = 1
    fold = Fold("all", np.arange(200), np.arange(200, 200 + _ENOUGH - 1), np.arange(0))
    reference, _ = describe(load_bundle(tiny_bundles.digits(tmp_path / "b")), {"inputs": pixels}, fold)
    assert sum(reference.answers["prediction"].counts.values()) == 200
    assert len(reference.answers["prediction"].counts) > 1


def test_unknown_words_are_counted_where_the_vocabulary_was_not_made(tmp_path):
    inputs = np.full((400, 2), 6)
    inputs[200:, 1] = UNK
    tensors = {"inputs": inputs, "lengths": np.full(400, 2)}
    fold = Fold("all", np.arange(200), np.arange(200, 400), np.arange(0))
    reference, expectations = describe(load_bundle(tiny_bundles.classifier(tmp_path / "b")), tensors, fold)
    assert reference.rows["unknown_share"].edges == (np.nextafter(0.5, 0), 0.5)
    assert reference.rows["tokens"].counts == (0, 200, 0)
    assert [one.column for one in expectations] == ["tokens", "unknown_share"]


def test_equal_data_gives_an_equal_reference(tmp_path):
    bundle = load_bundle(tiny_bundles.recordings(tmp_path / "b"))
    values = np.random.default_rng(0).normal(size=(50, 4, 2)).astype(np.float32)
    tensors = {"inputs": values, "lengths": np.arange(50) % 4 + 1}
    fold = Fold("all", np.arange(50), np.arange(0), np.arange(0))
    first, second = describe(bundle, tensors, fold), describe(dataclasses.replace(bundle), tensors, fold)
    assert first == second
    assert sum(first[0].answers["score"].counts) == 50


def windows(rows):
    values = np.exp(np.random.default_rng(0).normal(0, 0.1, (rows, 3, 1))).astype(np.float32)
    return {"inputs": values, "last": values[:, -1, 0]}


def sentences(rows):
    inputs = np.random.default_rng(0).integers(6, 14, (rows, 5))
    lengths = np.arange(rows) % 5 + 1
    return {"inputs": np.where(np.arange(5) < lengths[:, None], inputs, 0), "lengths": lengths}


@pytest.mark.parametrize(
    ("make", "tensors", "answered"),
    [
        (tiny_bundles.last_price, windows, {"score"}),
        (tiny_bundles.quantiles, windows, {"score", "spread"}),
        (tiny_bundles.every_step, windows, {"score"}),
        (tiny_bundles.classifier, sentences, {"score", "prediction"}),
        (tiny_bundles.translator, sentences, {"score", "length"}),
        (tiny_bundles.writer, sentences, {"score", "length"}),
        (tiny_bundles.strips, lambda rows: {"inputs": np.full((rows, 4, 2), 25, np.uint8)}, {"score", "prediction"}),
    ],
)
def test_every_kind_of_answer_is_counted(make, tensors, answered, tmp_path):
    bundle = load_bundle(make(tmp_path / "b"))
    fold = Fold("all", np.arange(40), np.arange(0), np.arange(0))
    reference, _ = describe(bundle, tensors(40), fold)
    assert set(reference.answers) == answered
    prompted = make is tiny_bundles.writer
    assert set(reference.rows) == set(PROFILED[bundle.card.reader]) - ({"tokens"} if prompted else set())
