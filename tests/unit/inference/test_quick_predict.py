"""One text through a model, and what is said of texts that do not fit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_bundles

from unroll.config.decoding import DecodingConfig
from unroll.errors import BundleError, ParameterError
from unroll.inference.bundle import load_bundle
from unroll.inference.quick_predict import classify, generate, translate


def test_translations_best_first(tmp_path: Path) -> None:
    model = tiny_bundles.translator(tmp_path / "model")
    tried = translate(model, "a b c", DecodingConfig())
    assert (tried.predictions, tried.notes) == ((("a b c", 0.0),), ())
    assert tried.model_version == load_bundle(model).version
    several = translate(model, "a b c", DecodingConfig(n_best=3, length_penalty=2.0))
    assert several.predictions == (("a b c", 0.0), ("a b", -2.0), ("a", -4.0))


def test_every_class_with_its_probability(tmp_path: Path) -> None:
    tried = classify(tiny_bundles.classifier(tmp_path / "model"), "b b")
    assert [name for name, _ in tried.predictions] == ["middle", "low", "high"]
    assert sum(score for _, score in tried.predictions) == pytest.approx(1)
    assert tried.predictions[0][1] == max(score for _, score in tried.predictions)


def test_what_is_written_begins_with_the_prompt(tmp_path: Path) -> None:
    model = tiny_bundles.writer(tmp_path / "model")
    tried = generate(model, "a b", DecodingConfig(n_best=3, seed=2))
    texts = [text for text, _ in tried.predictions]
    assert all(text.startswith("a b ") and len(text.split()) == 7 for text in texts)
    assert len(set(texts)) == 3
    assert texts == [text for text, _ in generate(model, "a b", DecodingConfig(n_best=3, seed=2)).predictions]
    assert texts[:1] == [text for text, _ in generate(model, "a b", DecodingConfig(seed=2)).predictions]


def test_a_prompt_may_be_left_out(tmp_path: Path) -> None:
    tried = generate(tiny_bundles.writer(tmp_path / "model"), "", DecodingConfig(temperature=0.0))
    assert tried.predictions == (("a a a a a", -4.0),)  # after <bos> alone


def test_what_the_model_does_not_know_or_see_is_told(tmp_path: Path) -> None:
    model = tiny_bundles.classifier(tmp_path / "model")
    assert classify(model, "a zz").notes == ("1 of 2 tokens are unknown to the model",)
    assert classify(model, "a " * 9).notes == ("the model reads only the first 6 tokens",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the text has no tokens"),
        (" \n", "the text has no tokens"),
        ("a b c d e f g", "the text has 7 tokens, the model reads at most 6"),
        ("a\udcff", r"U\+DCFF"),
    ],
)
def test_texts_that_do_not_fit(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        classify(tiny_bundles.classifier(tmp_path / "model", truncation=False), text)


@pytest.mark.parametrize(
    ("maker", "verb"),
    [
        (tiny_bundles.classifier, "classify"),
        (tiny_bundles.translator, "translate"),
        (tiny_bundles.writer, "generate"),
        (tiny_bundles.tagger, "predict"),
        (tiny_bundles.digits, "predict"),
    ],
)
def test_the_wrong_verb_names_the_right_one(tmp_path: Path, maker: Callable[[Path], Path], verb: str) -> None:
    model = maker(tmp_path / "model")
    verbs = {
        "translate": lambda: translate(model, "a", DecodingConfig()),
        "generate": lambda: generate(model, "a", DecodingConfig()),
        "classify": lambda: classify(model, "a"),
    }
    for wrong in set(verbs) - {verb}:
        with pytest.raises(ParameterError, match=f"`unroll {wrong}` cannot use; try `unroll {verb}`"):
            verbs[wrong]()


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"there is no bundle in .*; make it with `unroll export reviews-bilstm`"):
        classify(tmp_path / "models/reviews-bilstm", "a")
