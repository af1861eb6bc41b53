"""A new kind of data is one folder and one line: `tests/new_domain/ramps` goes from raw files to predictions."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.slow

PARAMS = """\
datasets:
  ramps:
    domain: ramps
    sources: [{kind: path, path: data/own/ramps.csv}]
tasks:
  direction: {domain: ramps, kind: direction, dataset: ramps}
experiments:
  ramps-gru:
    domain: ramps
    task: direction
    model: {kind: recurrent, layers: [{cell: gru, units: 8}]}
    training: {epochs: 12, batch_size: 16, learning_rate: 0.02, device: cpu}
scoring: {model: models/ramps-gru}
"""
COMMANDS = """\
ingest ramps
validate ramps
featurize direction
baseline direction
train ramps-gru
evaluate ramps-gru
export ramps-gru
predict --model models/ramps-gru --input new.parquet --output predictions
"""


@pytest.fixture
def project(here, root):
    """A project with a copy of the package that has the new domain and its line in DOMAINS."""
    shutil.copytree(root / "src/unroll", here / "src/unroll", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(root / "tests/new_domain/ramps", here / "src/unroll/domains/ramps")
    domains = here / "src/unroll/domains/__init__.py"
    text = domains.read_text()
    domains.write_text(
        text.replace("    digits.DOMAIN,\n", "    digits.DOMAIN,\n    ramps.DOMAIN,\n").replace(
            "prices, ", "prices, ramps, "
        )
    )
    random = np.random.default_rng(0)
    rows = []
    for direction in ("up", "down") * 60:
        steps = random.uniform(0.1, 1, random.integers(4, 12)) * (1 if direction == "up" else -1)
        rows.append(f"{direction},{' '.join(f'{value:.2f}' for value in np.cumsum(steps))}\n")
    (here / "data/own").mkdir(parents=True)
    (here / "data/own/ramps.csv").write_text("direction,values\n" + "".join(rows))
    (here / "params.yaml").write_text(PARAMS)
    (here / "dvc.lock").write_text("stages: {}\n")
    values = pa.array([[1.0, 2.0, 4.0, 5.0, 6.0], [0.0, -1.0, -2.5, -3.0], []], pa.list_(pa.float32()))
    pq.write_table(pa.table({"row_id": ["a", "b", "c"], "values": values}), here / "new.parquet")
    return here


def test_a_new_domain_goes_from_raw_files_to_predictions(project):
    environment = {**os.environ, "PYTHONPATH": str(project / "src")}
    for command in COMMANDS.splitlines():
        done = subprocess.run(
            [sys.executable, "-m", "unroll.cli", *command.split()],
            cwd=project,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}"
    found = pq.read_table(project / "predictions/new.parquet")
    assert found.select(["row_id", "prediction"]).to_pylist() == [
        {"row_id": "a", "prediction": "up"},
        {"row_id": "b", "prediction": "down"},
    ]
    rejected = pq.read_table(project / "predictions/new.quarantine.parquet")
    assert rejected["row_id"].to_pylist() == ["c"]
    assert (project / "models/ramps-gru/plots/confusion.png").exists()
