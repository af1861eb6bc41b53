"""The training flow's last part: gates, their table, and a store that cannot be used."""

import subprocess
import sys

import candidates
import pytest
import yaml
from flow_processes import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def project(dvc_repo, tiny):
    """A graph of one small stage, and two experiments that were trained: one good, one worse than its baseline."""
    (dvc_repo.path / "stage.py").write_text("from pathlib import Path\nPath('a.out').write_text('done')\n")
    stages = {"a": {"cmd": "python stage.py a", "deps": ["stage.py"], "outs": ["a.out"]}}
    (dvc_repo.path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    candidates.project(dvc_repo.path, tiny, "good", "poor")
    candidates.experiment(dvc_repo.path, "good")
    candidates.experiment(dvc_repo.path, "poor", wrong=range(8))
    return dvc_repo


def run(repo, server, **environment):
    return subprocess.run(
        [sys.executable, "-m", "pipelines.run", "--slots", "1"],
        cwd=repo.path,
        env=server.environment(ROOT) | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def rows_of(out):
    """Cells of the table's first line of each experiment."""
    lines = [[cell.strip() for cell in line.strip("│").split("│")] for line in out.splitlines() if line[:1] == "│"]
    return {cells[0]: cells[1:] for cells in lines if cells[0]}


def test_gates_after_training(project, prefect_server):
    done = run(project, prefect_server)

    assert done.returncode == 0, done.stderr
    assert "[1/1] a: done" in done.stdout
    table = rows_of(done.stdout)
    assert table["good"][:5] == ["passed"] * 4 + ["champion v1"]
    assert table["poor"][:5] == ["passed", "passed", "refused", "–", "refused"]
    assert "worse than strong" in table["poor"][5]
    assert max(len(line) for line in done.stdout.splitlines() if line[:1] in "┏┃┡│└") <= 140
    (artifact, *_) = prefect_server.ask(
        "artifacts", artifacts={"key": {"any_": ["promotion"]}}, sort="CREATED_DESC", limit=1
    )
    assert '"baseline": "refused"' in artifact["data"]

    nowhere = "http://127.0.0.1:1"
    second = run(project, prefect_server, PREFECT_API_URL=f"{nowhere}/api", MLFLOW_TRACKING_URI=nowhere)
    assert second.returncode == 0, second.stderr
    assert second.stdout.endswith("Nothing to do: all 1 stages are up to date.\n")
    assert rows_of(second.stdout) == table
    assert "gates |" not in second.stdout


def test_a_store_that_cannot_be_used_costs_no_result(project, prefect_server):
    # No server that is away: for that, Prefect would try again after 10 and 60 seconds.
    address = "sqlite:////dev/null/mlflow.db"
    done = run(project, prefect_server, MLFLOW_TRACKING_URI=address)

    assert done.returncode == 1
    assert "[1/1] a: done" in done.stdout
    assert (project.path / "a.out").exists()
    assert "the gates failed" in done.stderr
    assert address in done.stderr
    assert "Traceback" not in done.stderr

    again = run(project, prefect_server)
    assert again.returncode == 0, again.stderr
    assert "a: done" not in again.stdout
    assert rows_of(again.stdout)["good"][4] == "champion v1"
