"""The MLflow server accepts and never answers, or answers 500: every wait ends, and nothing is lost."""

import csv
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_bundles
from ill_servers import Health, IllServer, ill_server
from inboxes import Inbox
from servers import free_port, mlflow_server

from unroll.cli import model_of
from unroll.errors import PASSING_EXIT, TrackingError, is_passing

UNROLL = Path(sys.executable).parent / "unroll"
EPOCHS = 5
ILL: list[Health] = ["slow", "failing"]


def environment(server: IllServer) -> dict[str, str]:
    return {
        **os.environ,
        "MLFLOW_TRACKING_URI": server.address,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "3",
    }


def run(project: Path, server: IllServer, verb: str) -> subprocess.CompletedProcess[str]:
    command = [UNROLL, verb, "lstm"]
    return subprocess.run(
        command, cwd=project, env=environment(server), capture_output=True, text=True, timeout=240, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("health", ILL)
def test_ill_at_the_start(small_project: Path, health: Health) -> None:
    """A clear error before any work, and an exit code that says that another try may do."""
    with ill_server() as server:
        server.health = health
        done = run(small_project, server, "train")
    assert done.returncode == PASSING_EXIT, done.stderr
    assert done.stderr.startswith(f"unroll train: the MLflow store at {server.address} cannot be used: ")
    assert "Traceback" not in done.stderr
    assert "epoch" not in done.stdout
    assert server.asked == 2
    assert not (small_project / "models").exists()


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real server."""
    port = free_port()
    with mlflow_server(tmp_path_factory.mktemp("server"), port):
        yield port


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("health", ILL)
def test_ill_from_training_to_export(small_project: Path, behind: int, health: Health) -> None:
    """Training goes on; evaluate and export say what is wrong, and do all of it when the server is well again."""
    import mlflow

    weights = small_project / "models/lstm/weights/all-seed0.safetensors"
    with ill_server(behind) as server:
        training = subprocess.Popen(
            [UNROLL, "train", "lstm"],
            cwd=small_project,
            env=environment(server),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert training.stdout is not None
        for line in training.stdout:
            if f"epoch 2/{EPOCHS}" in line:
                server.health = health
                break
        rest, said = training.communicate(timeout=300)
        assert training.returncode == 0, said
        assert server.asked > 0
        assert "Traceback" not in said
        assert f"epoch {EPOCHS}/{EPOCHS}" in rest
        trained = weights.read_bytes()

        for verb in ("evaluate", "export"):
            server.health = health
            done = run(small_project, server, verb)
            assert done.returncode == PASSING_EXIT, done.stderr
            assert done.stderr.startswith(f"unroll {verb}: the MLflow store at {server.address} cannot be used: ")
            assert weights.read_bytes() == trained
            server.health = "well"
            done = run(small_project, server, verb)
            assert done.returncode == 0, done.stderr
        client = mlflow.MlflowClient(tracking_uri=server.address)
        (experiment,) = [one for one in client.search_experiments() if one.name == "steps"]
        one = client.search_runs([experiment.experiment_id])[0]
        with (small_project / "models/lstm/history.csv").open() as file:
            history = {int(row["epoch"]): float(row["train_loss"]) for row in csv.DictReader(file)}
        sent = {metric.step: metric.value for metric in client.get_metric_history(one.info.run_id, "train_loss")}
        assert sent == {epoch: pytest.approx(loss) for epoch, loss in history.items()}
        assert sorted(sent) == list(range(1, EPOCHS + 1))
        assert {file.path for file in client.list_artifacts(one.info.run_id)} >= {"plots", "bundle"}


@pytest.mark.slow
@pytest.mark.parametrize("health", ILL)
def test_a_job_that_cannot_resolve_its_model_touches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, health: Health
) -> None:
    inbox = Inbox(tmp_path)
    inbox.put("a.parquet", 3)
    monkeypatch.chdir(tmp_path)
    with ill_server() as server:
        server.health = health
        for name, value in environment(server).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address.replace("//", "//operator:hunter2@"))
        started = time.monotonic()
        with pytest.raises(TrackingError, match="the MLflow store at http") as caught:
            _score(inbox)
        assert time.monotonic() - started < 60
    assert is_passing(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert inbox.names("inbox") == ["a.parquet"]
    assert {path.name for path in tmp_path.iterdir()} <= {"inbox", ".unroll"}
    tiny_bundles.digits(tmp_path / "bundle")
    assert inbox.score().totals.scored == 1


def _score(inbox: Inbox) -> None:
    from unroll.scoring.job import score_inbox

    score_inbox(inbox.scoring(model="models:/digit-rows@champion"), resolve=model_of, ledger_url=inbox.ledger_url)
