"""Decoding settings: the card's, and a caller's in their place."""

import pytest
import tiny_bundles

from unroll.config.decoding import DecodingConfig
from unroll.errors import ParameterError
from unroll.inference.bundle import load_bundle
from unroll.inference.decoding import resolve


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    return load_bundle(tiny_bundles.translator(tmp_path_factory.mktemp("translator")))


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    return load_bundle(tiny_bundles.writer(tmp_path_factory.mktemp("writer")))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return load_bundle(tiny_bundles.classifier(tmp_path_factory.mktemp("classifier")))


def test_only_fields_that_were_set_replace_the_cards(translator, classifier):
    card = translator.card.decoding
    assert resolve(translator, None) == card == DecodingConfig(beams=2, max_length=5)
    assert resolve(translator, DecodingConfig(beams=4)) == DecodingConfig(beams=4, max_length=5)  # 4 is the default
    assert resolve(classifier, None) is None


def test_beams_follow_n_best_unless_they_are_set(writer):
    for given, beams in (
        (DecodingConfig(), 1),
        (DecodingConfig(n_best=5), 5),
        (DecodingConfig(beams=3, n_best=2), 3),
        (DecodingConfig(temperature=0.0), 2),
        (DecodingConfig(temperature=0.0, n_best=4), 4),
    ):
        found = resolve(writer, given)
        assert found.beams == beams


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("beams", 0),
        ("max_length", 10**9),
        ("length_penalty", float("nan")),
        ("temperature", 1e-9),
    ],
)
def test_an_option_out_of_bounds_is_named_with_its_value(option, value):
    with pytest.raises(ParameterError) as caught:
        DecodingConfig.from_options({option: value, "other": None})
    assert f"--{option.replace('_', '-')} is {value}" in str(caught.value)


@pytest.mark.parametrize(
    ("model", "given", "named"),
    [
        ("writer", DecodingConfig(beams=2, n_best=3), "--beams is 2"),
        ("writer", DecodingConfig(temperature=0.0, beams=12), "lower it to that"),
        ("translator", DecodingConfig(temperature=1.0, seed=3), "--temperature, --seed"),
        ("classifier", DecodingConfig(beams=2), "--beams"),
    ],
)
def test_settings_that_a_model_cannot_follow(request, model, given, named):
    with pytest.raises(ParameterError) as caught:
        resolve(request.getfixturevalue(model), given)
    assert named in str(caught.value)
