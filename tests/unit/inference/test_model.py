"""`unroll.load`: a bundle as a Python object."""

import subprocess
import sys

import pandas as pd
import pyarrow as pa
import pytest
import tiny_bundles

import unroll
from unroll.errors import FormatError


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
