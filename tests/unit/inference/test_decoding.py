"""How a model is told to write."""

import numpy as np
import pytest
import tiny_bundles

from unroll.errors import ParameterError
from unroll.features.random import uniforms
from unroll.inference.bundle import Bundle, load_bundle
from unroll.inference.decoding import Wishes, settled


@pytest.fixture(scope="module")
def searches(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(tiny_bundles.translator(tmp_path_factory.mktemp("searches")))


@pytest.fixture(scope="module")
def draws(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(tiny_bundles.writer(tmp_path_factory.mktemp("draws")))


@pytest.fixture(scope="module")
def writes_nothing(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(tiny_bundles.classifier(tmp_path_factory.mktemp("nothing")))


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
