"""The scoring flow on a real Prefect server: garbage set aside, drift shown, the state that an automation acts on."""

import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny_bundles

from unroll.export.bundle import add_files
from unroll.features.samples import Fold
from unroll.inference.bundle import load_bundle
from unroll.inference.describe import describe

pytestmark = pytest.mark.slow
ROWS = 300


def bundle(folder):
    """A bundle whose training images have all greys, and ink on every fourth pixel at least."""
    tiny_bundles.digits(folder)
    images = np.maximum(tiny_bundles.images(1000), 1)
    fold = Fold("all", np.arange(800), np.arange(800, 1000), np.arange(0))
    reference, expectations = describe(load_bundle(folder), {"inputs": images.reshape(-1, 28, 28)}, fold)
    kept = [one.model_dump(exclude_defaults=True) for one in expectations]
    add_files(folder, {"reference.json": reference.model_dump(), "expectations.json": kept})


@pytest.fixture
def workplace(scoring_place):
    bundle(scoring_place / "models/tiny-digits/bundle")
    return scoring_place


def put(place, name, pixels):
    table = tiny_bundles.digits_table(pixels, row_id=np.arange(len(pixels)))
    pq.write_table(table, place / "data/inbox" / f"{name}.parquet")


def run(place, server):
    """Runs the flow once; what the server knows of the run."""
    command = [sys.executable, "-m", "pipelines.batch_inference"]
    environment = server.environment(place) | {"MLFLOW_TRACKING_URI": f"sqlite:///{place}/mlflow.db"}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ended = {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}}
    newest = {"sort": "START_TIME_DESC", "limit": 1}
    runs = server.ask("flow_runs", flow_runs=ended, flows={"name": {"any_": ["score"]}}, **newest)
    return runs[0] | {"printed": done.stdout}


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
