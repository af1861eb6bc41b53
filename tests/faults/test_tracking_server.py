"""The MLflow server cannot be reached, or accepts and never answers: every wait ends, and nothing is lost."""

import contextlib
import csv
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import pytest
import tiny_bundles
from inboxes import Inbox
from servers import free_port, mlflow_server

from unroll.errors import UNAVAILABLE_EXIT, ServiceUnavailable
from unroll.scoring.job import score_inbox

UNROLL = Path(sys.executable).parent / "unroll"
EPOCHS = 5
every_fault = pytest.mark.parametrize("fault", ["away", "silent"])


class TrackingServer:
    """A real server that can fail: killed, or stopped, so that it accepts connections and never answers."""

    def __init__(self, folder, fault, running):
        self.fault = fault
        self._folder, self._port, self._running, self._process = folder, free_port(), running, None
        self.address = f"http://127.0.0.1:{self._port}"

    def start(self):
        self._process = self._running.enter_context(mlflow_server(self._folder, self._port))

    def fall_ill(self):
        if self.fault == "silent" and not self._process:
            self.start()
        if self._process:
            os.killpg(self._process.pid, signal.SIGSTOP if self.fault == "silent" else signal.SIGKILL)
        if self._process and self.fault == "away":
            self._process.wait()

    def recover(self):
        if self.fault == "silent":
            os.killpg(self._process.pid, signal.SIGCONT)
        else:
            self.start()

    def environment(self):
        return {
            "MLFLOW_TRACKING_URI": self.address,
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            # Of a server that never answers; one that is busy with its tables is waited for.
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "10" if self.fault == "silent" else "60",
        }

    def started(self, project, verb):
        return subprocess.Popen(
            [UNROLL, verb, *(["lstm"] if verb != "compare" else [])],
            cwd=project,
            env=os.environ | self.environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, project, verb):
        process = self.started(project, verb)
        out, errors = process.communicate(timeout=300)
        return process.returncode, out, errors


@pytest.fixture
def server(fault, tmp_path_factory):
    with contextlib.ExitStack() as running:
        yield TrackingServer(tmp_path_factory.mktemp("server"), fault, running)


@pytest.mark.slow
@every_fault
def test_ill_at_the_start(small_project, server):
    """A clear error before any work, and an exit code that says that another try may do."""
    server.fall_ill()
    status, out, errors = server.run(small_project, "train")
    assert status == UNAVAILABLE_EXIT, errors
    assert errors.startswith(f"unroll train: the MLflow store at {server.address} cannot be used: ")
    assert "MLFLOW_TRACKING_URI" in errors
    assert "Traceback" not in errors
    assert "epoch" not in out
    assert not (small_project / "models").exists()
    assert not list(small_project.glob(".unroll/checkpoints/**/*.safetensors"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@every_fault
def test_ill_from_the_second_epoch_on(small_project, server):
    """All goes on to the last stage, which says what is wrong, and sends everything once the server is well."""
    server.start()
    trained = _train(small_project, server)

    for verb in ("evaluate", "export"):
        status, _, errors = server.run(small_project, verb)
        assert status == 0, errors
    status, _, errors = server.run(small_project, "compare")
    assert status == UNAVAILABLE_EXIT, errors
    assert errors.startswith(f"unroll compare: the MLflow store at {server.address} cannot be used: ")
    server.recover()
    status, _, errors = server.run(small_project, "compare")
    assert status == 0, errors

    assert (small_project / "models/lstm/weights/all-seed0.safetensors").read_bytes() == trained
    _has_everything(server, small_project)


def _train(project, server):
    """The server falls ill in the middle; gives the weights."""
    training = server.started(project, "train")
    for line in training.stdout:
        if f"epoch 2/{EPOCHS}" in line:
            server.fall_ill()
            break
    rest, errors = training.communicate(timeout=300)
    assert training.returncode == 0, errors
    assert "Traceback" not in errors
    assert f"epoch {EPOCHS}/{EPOCHS}" in rest
    assert "unroll compare" in errors
    return (project / "models/lstm/weights/all-seed0.safetensors").read_bytes()


def _has_everything(server, project):
    import mlflow

    with (project / "models/lstm/history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in history] == list(range(1, EPOCHS + 1))
    client = mlflow.MlflowClient(tracking_uri=server.address)
    (experiment,) = [one for one in client.search_experiments() if one.name == "steps"]
    (run,) = client.search_runs([experiment.experiment_id])
    for name in ("train_loss", "valid_loss", "valid_metric", "gradient_norm"):
        sent = client.get_metric_history(run.info.run_id, name.replace("valid_metric", "valid_rmse"))
        assert sorted(metric.step for metric in sent) == list(range(1, EPOCHS + 1))
        values = {metric.step: metric.value for metric in sent}
        assert values == {int(row["epoch"]): pytest.approx(float(row[name])) for row in history}
    assert run.data.metrics["test.rmse"] > 0
    assert run.data.metrics["baseline.persistence.rmse"] > 0
    assert run.info.status == "FINISHED"
    assert {one.path for one in client.list_artifacts(run.info.run_id)} >= {"plots", "bundle"}


@pytest.mark.slow
@every_fault
def test_a_job_that_cannot_resolve_its_model_touches_nothing(tmp_path, monkeypatch, server):
    inbox = Inbox(tmp_path)
    inbox.put("a.parquet", 3)
    monkeypatch.chdir(tmp_path)
    server.fall_ill()
    settings: dict[str, Any] = server.environment()
    settings["MLFLOW_TRACKING_URI"] = server.address.replace("//", "//operator:hunter2@")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    started = time.monotonic()
    scoring = inbox.scoring(model="models:/digit-rows@champion")
    with pytest.raises(ServiceUnavailable, match="the MLflow store at http") as caught:
        score_inbox(scoring, staging=tmp_path / "staging")
    assert time.monotonic() - started < 180
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert list(inbox.files("inbox")) == ["a.parquet"]
    assert {path.name for path in tmp_path.iterdir()} <= {"inbox", ".unroll"}
    tiny_bundles.digits(tmp_path / "bundle")
    assert inbox.score().counts()["scored"] == 1
