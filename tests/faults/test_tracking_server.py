"""The MLflow server is away, accepts and never answers, or answers 500: every wait ends, and nothing is lost."""

import contextlib
import csv
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import tiny_bundles
from ill_servers import ill_server
from inboxes import Inbox
from servers import free_port, mlflow_server

from unroll.errors import UNAVAILABLE_EXIT, ServiceUnavailable
from unroll.scoring.job import score_inbox
from unroll.scoring.registered import find_model

UNROLL = Path(sys.executable).parent / "unroll"
EPOCHS = 5
Fault = Literal["away", "slow", "failing"]
every_fault = pytest.mark.parametrize("fault", ["away", "slow", "failing"])


class TrackingServer:
    """A real server that can be killed and started again, and one before it that can be slow or failing."""

    def __init__(self, folder: Path, fault: Fault, running: contextlib.ExitStack) -> None:
        self.fault = fault
        self._folder, self._port, self._running = folder, free_port(), running
        self._real: subprocess.Popen[bytes] | None = None
        self._before = running.enter_context(ill_server(self._port))
        self.address = f"http://127.0.0.1:{self._port}" if fault == "away" else self._before.address

    def start(self) -> None:
        self._real = self._running.enter_context(mlflow_server(self._folder, self._port))

    def fall_ill(self) -> None:
        if self.fault != "away":
            self._before.health = self.fault
        elif self._real:
            os.killpg(self._real.pid, signal.SIGKILL)
            self._real.wait()

    def recover(self) -> None:
        self._before.health = "well"
        if self.fault == "away":
            self.start()

    def environment(self) -> dict[str, str]:
        return {
            "MLFLOW_TRACKING_URI": self.address,
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            # Of a server that never answers; one that is busy with its tables is waited for.
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "10" if self.fault == "slow" else "60",
        }

    def started(self, project: Path, verb: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [UNROLL, verb, "lstm"],
            cwd=project,
            env=os.environ | self.environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, project: Path, verb: str) -> tuple[int, str, str]:
        """Exit status, standard output and error of a stage."""
        process = self.started(project, verb)
        out, errors = process.communicate(timeout=300)
        return process.returncode, out, errors


@pytest.fixture
def server(fault: Fault, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    with contextlib.ExitStack() as running:
        yield TrackingServer(tmp_path_factory.mktemp("server"), fault, running)


@pytest.mark.slow
@every_fault
def test_ill_at_the_start(small_project: Path, server: TrackingServer) -> None:
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
def test_ill_from_the_second_epoch_on(small_project: Path, server: TrackingServer) -> None:
    """Training goes on, the next stage says what is wrong, and sends all that is missing once the server is well."""
    server.start()
    trained = _train(small_project, server)

    if server.fault == "failing":
        # A stage later: what `evaluate` would have sent, `export` does not.
        server.recover()
        _ends_well(server, small_project, "evaluate")
        server.fall_ill()
    verb = "export" if server.fault == "failing" else "evaluate"
    status, _, errors = server.run(small_project, verb)
    assert status == UNAVAILABLE_EXIT, errors
    assert errors.startswith(f"unroll {verb}: the MLflow store at {server.address} cannot be used: ")
    server.recover()
    _ends_well(server, small_project, verb)

    assert (small_project / "models/lstm/weights/all-seed0.safetensors").read_bytes() == trained
    _has_everything(server, small_project, {"plots"} | ({"bundle"} if verb == "export" else set()))


def _train(project: Path, server: TrackingServer) -> bytes:
    """The server falls ill in the middle; gives the weights."""
    training = server.started(project, "train")
    assert training.stdout is not None
    for line in training.stdout:
        if f"epoch 2/{EPOCHS}" in line:
            server.fall_ill()
            break
    rest, errors = training.communicate(timeout=300)
    assert training.returncode == 0, errors
    assert "Traceback" not in errors
    assert f"epoch {EPOCHS}/{EPOCHS}" in rest
    assert "unroll evaluate lstm" in rest
    return (project / "models/lstm/weights/all-seed0.safetensors").read_bytes()


def _ends_well(server: TrackingServer, project: Path, verb: str) -> None:
    status, _, errors = server.run(project, verb)
    assert status == 0, errors


def _has_everything(server: TrackingServer, project: Path, artifacts: set[str]) -> None:
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
    assert {one.path for one in client.list_artifacts(run.info.run_id)} >= artifacts


@pytest.mark.slow
@every_fault
def test_a_job_that_cannot_resolve_its_model_touches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: TrackingServer
) -> None:
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
        score_inbox(scoring, resolve=find_model, staging=tmp_path / "staging")
    assert time.monotonic() - started < 180
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert list(inbox.files("inbox")) == ["a.parquet"]
    assert {path.name for path in tmp_path.iterdir()} <= {"inbox", ".unroll"}
    tiny_bundles.digits(tmp_path / "bundle")
    assert inbox.score().counts()["scored"] == 1
