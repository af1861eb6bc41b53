"""A training run that is killed with kill -9 resumes, and its results equal those of an uninterrupted one."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

UNROLL = Path(sys.executable).parent / "unroll"
EPOCHS = 6
EPOCH = re.compile(r"epoch (\d+)/")


@pytest.fixture
def project(tiny, tmp_path):
    def make(name):
        folder = tmp_path / name
        folder.mkdir()
        layers = [{"cell": "lstm", "units": 16}, {"cell": "gru", "units": 16}]
        model = {"kind": "recurrent", "layers": layers, "dropout": 0.2}
        training = {"epochs": EPOCHS, "batch_size": 2, "learning_rate": 0.002, "schedule": "one_cycle", "seeds": [0, 1]}
        content = tiny.parameters("price", "gru", model=model, training=training)
        (folder / "params.yaml").write_text(yaml.safe_dump(content))
        tiny.samples("price").save(folder / "data/features/steps")
        return folder

    return make


def started(folder):
    return subprocess.Popen(
        [UNROLL, "train", "gru"], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def killed_after(folder, stop):
    """Start `train` and kill it when a line has `stop` in it; return its output by line."""
    process = started(folder)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if stop in line:
            # Into the next epoch.
            time.sleep(0.05)
            os.kill(process.pid, signal.SIGKILL)
            break
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    return lines + rest.splitlines(keepends=True)


def finished(folder):
    process = started(folder)
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return out.splitlines(keepends=True)


def epochs(lines):
    return [int(found[1]) for line in lines if (found := EPOCH.search(line))]


def results(folder):
    weights = folder / "models/gru/weights"
    found = {path.name: path.read_bytes() for path in sorted(weights.iterdir())}
    return found | {"history.csv": (folder / "models/gru/history.csv").read_bytes()}


def metrics(folder):
    """Return the epochs of the second network that have metrics, and the only run."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    (experiment,) = [one for one in client.search_experiments() if one.name == "steps"]
    (run,) = client.search_runs([experiment.experiment_id])
    return [metric.step for metric in client.get_metric_history(run.info.run_id, "all.seed1.train_loss")], run


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_killed_twice_and_started_again(project):
    """Killed in the first of two networks, and in the second."""
    whole, broken = project("whole"), project("broken")
    assert epochs(finished(whole)) == [*range(1, EPOCHS + 1)] * 2

    first = epochs(killed_after(broken, f"seed 0  epoch 2/{EPOCHS}"))
    assert first[:2] == [1, 2]
    assert len(first) < EPOCHS
    assert not (broken / "models/gru/weights").exists()

    lines = killed_after(broken, f"seed 1  epoch 3/{EPOCHS}")
    zero, one = (epochs([line for line in lines if f"seed {seed}" in line]) for seed in (0, 1))
    # The line of an epoch may be missing if its checkpoint was written just before; no epoch is repeated.
    assert first[-1] < zero[0] <= first[-1] + 2
    assert zero[-1] == EPOCHS
    assert one[:3] == [1, 2, 3]
    assert len(one) < EPOCHS

    lines = finished(broken)
    assert not [line for line in lines if "seed 0" in line]
    third = epochs(lines)
    assert one[-1] < third[0] <= one[-1] + 2
    assert third[-1] == EPOCHS

    assert results(broken) == results(whole)
    assert not (broken / ".unroll/checkpoints/gru").exists()
    steps, run = metrics(broken)
    assert sorted(steps) == list(range(1, EPOCHS + 1))
    assert run.info.status == "FINISHED"
