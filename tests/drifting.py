"""A place to score whose rows can drift, and the scoring flow on a real Prefect server."""

import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import tiny_bundles

from unroll.export.bundle import add_files
from unroll.features.samples import Fold
from unroll.inference.bundle import load_bundle
from unroll.inference.describe import describe


def bundle(folder):
    """A bundle whose training images have all greys, and ink on every fourth pixel at least."""
    tiny_bundles.digits(folder)
    images = np.maximum(tiny_bundles.images(1000), 1)
    fold = Fold("all", np.arange(800), np.arange(800, 1000), np.arange(0))
    reference, expectations = describe(load_bundle(folder), {"inputs": images.reshape(-1, 28, 28)}, fold)
    kept = [one.model_dump(exclude_defaults=True) for one in expectations]
    add_files(folder, {"reference.json": reference.model_dump(), "expectations.json": kept})


def put(place, name, pixels):
    table = tiny_bundles.digits_table(pixels, row_id=np.arange(len(pixels)))
    pq.write_table(table, place / "data/inbox" / f"{name}.parquet")


def run(place, server, exit_code=0):
    """Runs the flow once; what the server knows of the run."""
    command = [sys.executable, "-m", "pipelines.batch_inference"]
    environment = server.environment(place) | {"MLFLOW_TRACKING_URI": f"sqlite:///{place}/mlflow.db"}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == exit_code, done.stdout + done.stderr
    ended = {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}}
    newest = {"sort": "START_TIME_DESC", "limit": 1}
    runs = server.ask("flow_runs", flow_runs=ended, flows={"name": {"any_": ["score"]}}, **newest)
    return runs[0] | {"printed": done.stdout}
