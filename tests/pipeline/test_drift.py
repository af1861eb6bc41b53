"""The scoring flow on a real Prefect server: garbage set aside, drift shown, the state that an automation acts on."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny_bundles
from drifting import bundle, put, run

pytestmark = pytest.mark.slow
ROWS = 300


@pytest.fixture
def workplace(scoring_place):
    bundle(scoring_place / "models/tiny-digits/bundle")
    return scoring_place


def test_rows_and_drift_of_a_run(workplace, prefect_server):
    usual = np.maximum(tiny_bundles.images(ROWS, seed=5), 1)
    usual[7] = 0
    put(workplace, "usual", usual)
    first = run(workplace, prefect_server)
    assert (first["state_type"], first["state_name"]) == ("COMPLETED", "Completed")
    assert f"no drift: 4 columns of {ROWS - 1} rows" in str(first["printed"])
    (aside,) = (workplace / "data/quarantine").rglob("usual.parquet.parquet")
    (row,) = pq.read_table(aside).to_pylist()
    assert row["row_id"] == 7
    assert "ink is 0, expected more than 0" in row["reason"]

    put(workplace, "dark", np.minimum(usual[8:], 40))
    second = run(workplace, prefect_server)
    assert (second["state_type"], second["state_name"]) == ("COMPLETED", "Drifted")
    artifacts = prefect_server.ask("artifacts", artifacts={"flow_run_id": {"any_": [second["id"]]}})
    by_key = {one["key"]: one for one in artifacts}
    assert {"scored-files", "drift", "drift-page"} <= set(by_key)
    assert "above the limit" in str(by_key["drift"]["data"])
    pages = sorted((workplace / "data/drift").glob("*.html"))
    assert len(pages) == 2
    assert pages[-1].name in str(by_key["drift-page"]["data"])

    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{workplace}/mlflow.db")
    runs = mlflow.search_runs(experiment_names=["live"], output_format="list")
    assert sorted(one.data.metrics["drift.exceeded"] > 0 for one in runs) == [False, True]
    assert {one.data.metrics["files.scored"] for one in runs} == {1}
    files = {one.path for run in runs for one in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    assert files == {"files.csv", *(page.name for page in pages)}
    assert {one.data.tags["unroll.live"] for one in runs} == {"scoring"}

    # Nothing new: nothing to show, and no page.
    third = run(workplace, prefect_server)
    assert third["state_name"] == "Completed"
    assert len(list((workplace / "data/drift").glob("*.html"))) == 2
