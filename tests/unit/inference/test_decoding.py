"""How a model is told to write, and what chance is made of."""

import numpy as np
import pytest
import tiny_bundles

from unroll.errors import ParameterError
from unroll.inference.bundle import Bundle, load_bundle
from unroll.inference.decoding import Wishes, settled, uniforms


@pytest.fixture(scope="module")
def searches(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(tiny_bundles.translator(tmp_path_factory.mktemp("searches")))


@pytest.fixture(scope="module")
def draws(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(tiny_bundles.writer(tmp_path_factory.mktemp("draws")))


@pytest.fixture(scope="module")
def writes_nothing(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(tiny_bundles.classifier(tmp_path_factory.mktemp("nothing")))


def test_uniforms_are_the_same_everywhere() -> None:
    """Raw numbers of PCG64 are promised not to change; so these may never."""
    drawn = uniforms(7, np.array([0, 3]), 2, 3)
    assert drawn.dtype == np.float32
    bits = (drawn * 2**24).astype(np.int64)
    assert np.array_equal(bits * np.float32(2**-24), drawn)
    expected = [np.random.PCG64([7, row]).random_raw(3) >> np.uint64(40) for row in (0, 3)]
    assert bits[:, 0].tolist() == [row.tolist() for row in expected]
    assert bits.tolist() == [
        [[10487361, 15052749, 13013846], [3905155, 8481714, 14128379]],
        [[16358348, 14840575, 3891818], [10592559, 9625947, 12571155]],
    ]


def test_neither_batch_nor_sequences_nor_steps_change_what_is_drawn() -> None:
    rows = np.array([5, 2, 9])
    whole = uniforms(1, rows, 4, 30)
    assert np.array_equal(uniforms(1, rows[1:2], 4, 30), whole[1:2])
    assert np.array_equal(uniforms(1, rows, 2, 30), whole[:, :2])
    assert np.array_equal(uniforms(1, rows, 4, 10), whole[:, :, :10])
    assert not np.array_equal(uniforms(2, rows, 4, 30), whole)
    assert len(np.unique(whole)) > 0.99 * whole.size


def test_uniforms_are_uniform_and_below_one() -> None:
    drawn = uniforms(0, np.arange(200), 2, 100)
    assert 0 <= drawn.min() < 0.001 < 0.999 < drawn.max() < 1
    assert np.histogram(drawn, 10, (0, 1))[0] == pytest.approx(4000, rel=0.1)


def test_the_card_says_how_unless_told_otherwise(searches: Bundle, draws: Bundle) -> None:
    settings = settled(searches, Wishes())
    assert settings is not None
    assert vars(settings) == {
        "beams": 2,
        "length_penalty": 1.0,
        "max_length": 5,
        "temperature": 0.0,
        "top_k": 0,
        "seed": 0,
        "n_best": 0,
    }
    other = settled(searches, Wishes(beams=3, length_penalty=0.5, max_length=9, n_best=3))
    assert other is not None
    assert (other.beams, other.length_penalty, other.max_length, other.n_best) == (3, 0.5, 9, 3)
    drawn = settled(draws, Wishes(temperature=0.5, top_k=3, seed=8))
    assert drawn is not None
    assert (drawn.temperature, drawn.top_k, drawn.seed) == (0.5, 3, 8)


def test_as_many_sequences_are_drawn_as_answers_are_wanted(draws: Bundle) -> None:
    for wishes, beams in (
        (Wishes(), 1),
        (Wishes(n_best=5), 5),
        (Wishes(beams=3, n_best=2), 3),
        (Wishes(temperature=0.0), 2),
        (Wishes(temperature=0.0, n_best=4), 4),
    ):
        settings = settled(draws, wishes)
        assert settings is not None
        assert settings.beams == beams


def test_the_graph_gets_the_inputs_that_it_has(searches: Bundle, draws: Bundle) -> None:
    for bundle, wishes in ((searches, Wishes()), (draws, Wishes(n_best=3, seed=4)), (draws, Wishes(temperature=0.0))):
        settings = settled(bundle, wishes)
        assert settings is not None
        names = {one.name for one in bundle.card.inputs}
        feeds = settings.feeds(names, np.array([6, 1]))
        assert set(feeds) == names - {"inputs", "lengths"}
        for one in bundle.card.inputs:
            if one.name in feeds:
                assert (feeds[one.name].dtype, feeds[one.name].ndim) == (np.dtype(one.dtype), len(one.shape))
        if "uniforms" in feeds:
            drawn = uniforms(settings.seed, np.array([6, 1]), settings.beams, settings.max_length)
            assert np.array_equal(feeds["uniforms"], drawn if settings.temperature else 0 * drawn)


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        (Wishes(beams=0), "--beams is 0; it must be between 1 and 1,000"),
        (Wishes(max_length=0), "--max-length is 0"),
        (Wishes(max_length=10**9), "--max-length is 1000000000"),
        (Wishes(length_penalty=-1), "--length-penalty is -1"),
        (Wishes(length_penalty=float("nan")), "--length-penalty is nan"),
        (Wishes(temperature=1e-9), "--temperature is 1e-09; it must be 0, or between 0.01 and 100"),
        (Wishes(temperature=float("inf")), "--temperature is inf"),
        (Wishes(top_k=-1), "--top-k is -1"),
        (Wishes(seed=-1), "--seed is -1"),
        (Wishes(n_best=0), "--n-best is 0"),
        (Wishes(beams=2, n_best=3), "3 answers need as many beams, not 2"),
        (Wishes(temperature=0.0, beams=12), "12 beams are more than tiny-language-model has tokens.*at most 11"),
    ],
)
def test_wishes_out_of_bounds(draws: Bundle, wishes: Wishes, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        settled(draws, wishes)


def test_wishes_that_a_model_cannot_fulfil(searches: Bundle, writes_nothing: Bundle) -> None:
    with pytest.raises(ParameterError, match="draws nothing: leave out --temperature, --seed"):
        settled(searches, Wishes(temperature=1.0, seed=3))
    with pytest.raises(ParameterError, match="is a text_class model, which writes no text: leave out --beams"):
        settled(writes_nothing, Wishes(beams=2))
    assert settled(writes_nothing, Wishes()) is None
