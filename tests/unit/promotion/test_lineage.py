"""From a row of a file of predictions back to the data."""

import json

import candidates
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles

from unroll import cli
from unroll.errors import DataError
from unroll.inference.predict import predict
from unroll.promotion import promote
from unroll.promotion.lineage import lineage
from unroll.tracking import registry

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def here(own_store):
    return own_store


@pytest.fixture
def promoted(here, tiny):
    candidates.project(here, tiny, "a")
    candidates.experiment(here, "a")
    promote.gate(["a"], lambda line: None)
    return here


def predictions(folder, model):
    pq.write_table(tiny_bundles.digits_table(tiny_bundles.images(5)), folder / "in.parquet")
    predict(model, folder / "in.parquet", folder / "out")
    return folder / "out/in.parquet"


def of(path, row=None):
    found = {}
    for what, value in lineage(path, row):
        found.setdefault(what, []).append(value)
    return found


def test_end_to_end(promoted, monkeypatch, capsys):
    model = registry.resolve(f"models:/{candidates.TASK}@champion")
    path = predictions(promoted, model.folder)
    found = of(path, "3")
    bundle = registry.version_of(candidates.TASK, "1")
    assert found["predictions"] == [f"{path}: 5 rows"]
    assert found["made from"][0].startswith("in.parquet")
    assert found["row 3"][0].startswith("prediction ")
    assert found["model"] == [f"{bundle.model_version}, task {candidates.TASK}"]
    assert found["registered"] == [f"{candidates.TASK} version 1, now champion"]
    assert found["run"][0].startswith(f"{model.run_id} (a, finished, started 2")
    assert found["data"] == ["data/raw/mnist, DVC md5 d41d8cd98f00b204e9800998ecf8427e"]
    assert found["git commit"] == ["unknown: trained outside git"]

    # The store cannot be reached: what the file says is shown all the same.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = of(path, "3")
    assert away["registry"][0].startswith("the MLflow store at http://127.0.0.1:1 cannot be used")
    assert away["model"] == found["model"]
    assert away["data"] == found["data"]
    assert cli.main(["lineage", str(path), "3"]) == 0
    assert "DVC md5" in capsys.readouterr().out


def state(path, **more):
    """Adds to what a file says of itself."""
    table = pq.read_table(path)
    about = json.loads(table.schema.metadata[b"unroll"]) | more
    pq.write_table(table.replace_schema_metadata({"unroll": json.dumps(about)}), path)


class TestRows:
    @pytest.fixture
    def texts(self, here):
        """Predictions of texts, one of which was set aside."""
        pq.write_table(pa.table({"row_id": ["x", "y", "z"], "text": ["a b", "", "c"]}), here / "in.parquet")
        predict(tiny_bundles.classifier(here / "b"), here / "in.parquet", here / "data/predictions/day")
        return here / "data/predictions/day/in.parquet"

    def test_scored(self, texts):
        assert "prediction low" in of(texts, "x")["row x"][0]

    def test_set_aside_beside_it(self, texts):
        (value,) = of(texts, "y")["row y"]
        assert value.startswith(f"set aside, in {texts.with_name('in.quarantine.parquet')}: ")

    def test_set_aside_where_the_file_says(self, texts):
        place = texts.parents[3] / "aside/rows.parquet"
        place.parent.mkdir()
        texts.with_name("in.quarantine.parquet").rename(place)
        with pytest.raises(DataError, match="no row_id y"):
            of(texts, "y")
        state(texts, quarantine=str(place))
        (value,) = of(texts, "y")["row y"]
        assert value.startswith(f"set aside, in {place}: ")
        assert of(place, "y")["row y"] == [value]

    def test_unknown(self, texts):
        with pytest.raises(DataError, match=r"row_id q in .*in.quarantine.parquet"):
            of(texts, "q")


def test_files_that_unroll_did_not_write(here, capsys):
    pq.write_table(pa.table({"a": [1]}), here / "a.parquet")
    (here / "b.parquet").write_bytes(b"PAR1 no")
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({"unroll": "[1]"}), here / "c.parquet")
    for name, words in (("a", "does not name the model"), ("b", "cannot be read"), ("c", "does not name"),
                        ("none", "cannot be read")):  # fmt: skip
        with pytest.raises(DataError, match=words):
            lineage(here / f"{name}.parquet")
    assert cli.main(["lineage", "a.parquet"]) == 2
    assert "unroll lineage: a.parquet" in capsys.readouterr().err
