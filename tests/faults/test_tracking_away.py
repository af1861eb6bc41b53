"""The MLflow server is away: at the start it stops everything, later it costs nothing."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from servers import free_port, mlflow_server

UNROLL = Path(sys.executable).parent / "unroll"
EPOCHS = 5


@pytest.fixture
def project(small_project):
    return small_project


def environment(port):
    return {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    }


@pytest.mark.slow
def test_away_at_the_start(project):
    """A clear error before any work."""
    command = [UNROLL, "train", "lstm"]
    done = subprocess.run(
        command, cwd=project, env=environment(free_port()), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 75  # it may work later
    assert done.stderr.startswith("unroll train: the MLflow store at http://127.0.0.1:")
    assert "MLFLOW_TRACKING_URI" in done.stderr
    assert "Traceback" not in done.stderr
    assert "epoch" not in done.stdout
    assert not (project / "models").exists()
    assert not list(project.glob(".unroll/checkpoints/**/*.safetensors"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_away_during_training(project):
    """No training is lost and no metric: what is missing is sent when the server is back."""
    import mlflow

    port = free_port()
    with mlflow_server(project, port) as child:
        training = subprocess.Popen(
            [UNROLL, "train", "lstm"],
            cwd=project,
            env=environment(port),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        told = []
        for line in training.stdout:
            told.append(line)
            if f"epoch 2/{EPOCHS}" in line:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                break
        rest, said = training.communicate(timeout=300)
    assert training.returncode == 0, said
    assert "Traceback" not in said
    assert f"epoch {EPOCHS}/{EPOCHS}" in rest
    assert "unroll evaluate lstm" in rest
    with (project / "models/lstm/history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in history] == list(range(1, EPOCHS + 1))
    assert (project / "models/lstm/weights/all-seed0.safetensors").exists()

    with mlflow_server(project, port):
        client = mlflow.MlflowClient(tracking_uri=f"http://127.0.0.1:{port}")
        (experiment,) = [one for one in client.search_experiments() if one.name == "steps"]
        (run,) = client.search_runs([experiment.experiment_id])
        before = [metric.step for metric in client.get_metric_history(run.info.run_id, "train_loss")]
        assert 1 in before
        assert EPOCHS not in before
        done = subprocess.run(
            [UNROLL, "evaluate", "lstm"],
            cwd=project,
            env=environment(port),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        for name in ("train_loss", "valid_loss", "valid_metric", "gradient_norm"):
            sent = client.get_metric_history(run.info.run_id, name.replace("valid_metric", "valid_rmse"))
            assert sorted(metric.step for metric in sent) == list(range(1, EPOCHS + 1))
            values = {metric.step: metric.value for metric in sent}
            assert values == {int(row["epoch"]): pytest.approx(float(row[name])) for row in history}
        (run,) = client.search_runs([experiment.experiment_id])
        assert run.data.metrics["test.rmse"] > 0
        assert run.data.metrics["baseline.persistence.rmse"] > 0
        assert run.info.status == "FINISHED"
        assert [one.path for one in client.list_artifacts(run.info.run_id)] == ["plots"]
