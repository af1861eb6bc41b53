"""One text through a model, and what is said of texts that do not fit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_bundles

from unroll.config.decoding import DecodingConfig
from unroll.errors import BundleError, ParameterError
from unroll.inference.quick_predict import use_on_text


def test_a_prompt_may_be_left_out(tmp_path: Path) -> None:
    tried = use_on_text(tiny_bundles.writer(tmp_path / "model"), "generate", "", DecodingConfig(temperature=0.0))
    assert tried.predictions == (("a a a a a", -4.0),)  # after <bos> alone


def test_what_the_model_does_not_know_or_see_is_told(tmp_path: Path) -> None:
    model = tiny_bundles.classifier(tmp_path / "model")
    assert use_on_text(model, "classify", "a zz").notes == ("1 of 2 tokens are unknown to the model",)
    assert use_on_text(model, "classify", "a " * 9).notes == ("the model reads only the first 6 tokens",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the text has no tokens"),
        ("a b c d e f g", "the text has 7 tokens, the model reads at most 6"),
        ("a\udcff", r"U\+DCFF"),
    ],
)
def test_texts_that_do_not_fit(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        use_on_text(tiny_bundles.classifier(tmp_path / "model", truncation=False), "classify", text)


@pytest.mark.parametrize(
    ("maker", "verb"),
    [
        (tiny_bundles.classifier, "classify"),
        (tiny_bundles.translator, "translate"),
        (tiny_bundles.digits, "predict"),
    ],
)
def test_the_wrong_verb_names_the_right_one(tmp_path: Path, maker: Callable[[Path], Path], verb: str) -> None:
    model = maker(tmp_path / "model")
    for wrong in {"translate", "generate", "classify"} - {verb}:
        with pytest.raises(ParameterError, match=f"`unroll {wrong}` cannot use; try `unroll {verb}`"):
            use_on_text(model, wrong, "a", DecodingConfig())


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"there is no bundle in .*; make it with `unroll export reviews-bilstm`"):
        use_on_text(tmp_path / "models/reviews-bilstm", "classify", "a")
