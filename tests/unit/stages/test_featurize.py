"""Stage `featurize`: only from data that keeps its expectations, and the same bytes each time."""

import json

import pyarrow.parquet as pq
import pytest
import yaml

from unroll.errors import DataError
from unroll.stages import featurize


@pytest.fixture
def project(here, tiny):
    """A validated table of prices, and one of digits."""
    tasks = {"steps": tiny.plain("price"), "fan": tiny.plain("return_quantiles"), "rows": tiny.plain("digits")}
    (here / "params.yaml").write_text(yaml.safe_dump({"tasks": tasks}))
    for dataset, file, table in (
        ("stock", "prices.parquet", tiny.prices()),
        ("mnist", "digits.parquet", tiny.digits()),
    ):
        for folder in ("raw", "validation"):
            (here / "data" / folder / dataset).mkdir(parents=True)
        pq.write_table(table, here / "data/raw" / dataset / file)
        (here / "data/validation" / dataset / "verdict.json").write_text('{"passed": true}')
    return here


@pytest.mark.parametrize("name", ["steps", "fan", "rows"])
def test_summary_tells_what_is_there(project, tiny, name, capsys):
    featurize.run(name)
    folder = project / "data/features" / name
    assert sorted(path.name for path in folder.iterdir()) == [
        "samples.safetensors",
        "splits.safetensors",
        "summary.json",
    ]
    summary = json.loads((folder / "summary.json").read_text())
    samples = tiny.samples({"steps": "price", "fan": "return_quantiles", "rows": "digits"}[name])
    tensor = samples.tensors["inputs"]
    assert summary["tensors"]["inputs"] == [str(tensor.dtype), *tensor.shape]
    for fold in samples.folds:
        assert summary["folds"][fold.name]["test"]["rows"] == len(fold.test)
    if name == "steps":
        assert summary["folds"]["all"]["test"]["first_day"] == "2011-04-01"
        assert summary["folds"]["all"]["test"]["last_day"] == "2011-05-31"
    assert f"{name}: inputs" in capsys.readouterr().out


def test_equal_runs_write_equal_bytes(project):
    contents = []
    for _ in range(2):
        featurize.run("fan")
        contents.append({path.name: path.read_bytes() for path in (project / "data/features/fan").iterdir()})
    assert contents[0] == contents[1]


def test_data_that_failed_its_expectations_is_not_used(project):
    (project / "data/validation/stock/verdict.json").write_text('{"passed": false}')
    with pytest.raises(DataError, match="stock failed its expectations; run `unroll validate stock`"):
        featurize.run("steps")
    assert not (project / "data/features").exists()
    # Another dataset's tasks go on.
    featurize.run("rows")
