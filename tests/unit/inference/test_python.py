"""Bundles used from Python: unroll.load, and one text through a model."""

import subprocess
import sys

import pandas as pd
import pyarrow as pa
import pytest
import tiny_bundles

import unroll
from unroll.config.decoding import DecodingConfig
from unroll.errors import BundleError, FormatError, ParameterError
from unroll.inference.quick_predict import use_on_text


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return unroll.load(tiny_bundles.classifier(tmp_path_factory.mktemp("texts") / "bundle"))


def test_a_data_frame(model):
    found = model.predict(pd.DataFrame({"text": ["a a", "c", ""]}))
    assert found["row_id"].tolist() == [0, 1, 2]
    assert found["prediction"].tolist()[:2] == ["low", "high"]
    assert found["prediction"].isna().tolist() == [False, False, True]
    assert found["reason"].notna().tolist() == [False, False, True]
    assert set(found["model_version"].dropna()) == {model.version}


def test_an_arrow_table_keeps_ids(model):
    found = model.predict(pa.table({"id": ["x", "y"], "text": ["b", "c"]}))
    assert found["row_id"].to_pylist() == ["x", "y"]
    assert found["prediction"].to_pylist() == ["middle", "high"]


def test_a_missing_column_is_named(model):
    with pytest.raises(FormatError, match="the table") as error:
        model.predict(pd.DataFrame({"words": ["a"]}))
    assert "'text'" in str(error.value)


def test_the_example_of_the_readme(root, tmp_path):
    """The Python block of the README, on a small bundle in the place of the one it names."""
    block = (root / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    tiny_bundles.classifier(tmp_path / "models/reviews-bilstm/bundle")
    done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == ["prediction", "score"]


def test_a_prompt_may_be_left_out(tmp_path):
    tried = use_on_text(tiny_bundles.writer(tmp_path / "model"), "generate", "", DecodingConfig(temperature=0.0))
    assert tried.predictions == (("a a a a a", -4.0),)  # after <bos> alone


def test_what_the_model_does_not_know_or_see_is_told(tmp_path):
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
def test_texts_that_do_not_fit(tmp_path, text, message):
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
def test_the_wrong_verb_names_the_right_one(tmp_path, maker, verb):
    model = maker(tmp_path / "model")
    for wrong in {"translate", "generate", "classify"} - {verb}:
        with pytest.raises(ParameterError, match=f"`unroll {wrong}` cannot use; try `unroll {verb}`"):
            use_on_text(model, wrong, "a", DecodingConfig())


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(BundleError, match=r"there is no bundle in .*; make it with `unroll export reviews-bilstm`"):
        use_on_text(tmp_path / "models/reviews-bilstm", "classify", "a")
