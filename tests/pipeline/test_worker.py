"""Scheduled runs on a real server with a real worker: cancelled, killed, late, and after drift."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from flow_processes import ROOT, DvcRepo, Server, call, process, processes_in, wait_for

pytestmark = pytest.mark.slow

POOL = "unroll"
# pipelines.batch_inference has it, too; importing that would settle Prefect's environment for this process.
RETRAIN = "Retrain: "
# A stage that starts a program of its own, and that nothing but a kill ends.
STUBBORN = """
import signal, subprocess, sys, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
if sys.argv[1] == "stage":
    subprocess.Popen([sys.executable, __file__, "helper"])
    print("epoch 1/9", flush=True)
    open("started", "w").close()
time.sleep(600)
"""


class Place:
    """A folder with flows and deployments, on a server, with a worker."""

    def __init__(self, path: Path, server: Server) -> None:
        self.path, self.server = path, server
        self.log = path.parent / "worker.log"
        shutil.copytree(ROOT / "pipelines", path / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
        content = yaml.safe_load((ROOT / "prefect.yaml").read_text())
        for deployment in content["deployments"]:
            # The tests start what they need.
            deployment.pop("schedules")
        (path / "prefect.yaml").write_text(yaml.safe_dump(content, sort_keys=False))

    def prefect(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            cwd=self.path,
            env=self.server.environment(),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def deployment(self, name: str) -> str:
        found = self.server.ask("deployments", deployments={"name": {"any_": [name]}})
        return str(found[0]["id"])

    def start(self, name: str, **parameters: Any) -> str:
        address = f"{self.server.api}/deployments/{self.deployment(name)}/create_flow_run"
        return str(call(address, {"parameters": parameters})["id"])

    def state(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = self.server.ask("flow_runs", flow_runs={"id": {"any_": [run]}})[0]["state"]
        return found

    def wait_for(self, what: Callable[[], Any], seconds: float = 300.0) -> Any:
        return wait_for(what, seconds, self.log.read_text)

    def wait_for_no_process(self) -> None:
        # Two graces of five seconds, then the kill.
        self.wait_for(lambda: not processes_in(self.path), 120)


@pytest.fixture(scope="module")
def place(empty_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Flows over a graph of one stage that does not end by itself, and a worker of one place."""
    repo = DvcRepo(tmp_path_factory.mktemp("worker") / "repo")
    repo.path.mkdir()
    subprocess.run(["git", "init", "--quiet"], cwd=repo.path, check=True)  # noqa: S607 -- that of PATH
    repo.dvc("init", "--quiet")
    (repo.path / "stage.py").write_text(STUBBORN)
    stage = {"cmd": "python stage.py stage", "deps": ["stage.py"], "outs": ["out"]}
    (repo.path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"endless": stage}}))
    place = Place(repo.path, empty_server)
    place.prefect("work-pool", "create", POOL, "--type", "process")
    place.prefect("work-pool", "set-concurrency-limit", POOL, "1")
    place.prefect("deploy", "--all")
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL]
    with process(command, place.log, cwd=repo.path.parent, env=empty_server.environment()):
        yield place
    for one in processes_in(repo.path):
        one.kill()


@pytest.fixture
def running(place: Place) -> str:
    """A training in the middle of its stage."""
    (place.path / "started").unlink(missing_ok=True)
    run = place.start("train", slots=1)
    place.wait_for((place.path / "started").exists)
    # The stage, and what it started.
    assert len(processes_in(place.path, "stage.py")) >= 2
    return run


def test_a_cancelled_run_leaves_no_process(place: Place, running: str) -> None:
    place.prefect("flow-run", "cancel", running)

    place.wait_for(lambda: place.state(running)["type"] == "CANCELLED")
    place.wait_for_no_process()


def test_a_killed_flow_leaves_no_process(place: Place, running: str) -> None:
    flows = processes_in(place.path, "prefect")
    for flow in flows:
        flow.kill()

    assert flows
    place.wait_for(lambda: place.state(running)["type"] == "CRASHED")
    place.wait_for_no_process()


def test_a_run_out_of_time_leaves_no_process(place: Place) -> None:
    schedule = place.path / "pipelines/schedule.py"
    text = schedule.read_text()
    assert "TRAIN_SECONDS = 12 * 60 * 60" in text
    schedule.write_text(text.replace("TRAIN_SECONDS = 12 * 60 * 60", "TRAIN_SECONDS = 60"))
    (place.path / "started").unlink(missing_ok=True)
    try:
        run = place.start("train", slots=1)
        state = place.wait_for(lambda: (found := place.state(run))["type"] == "FAILED" and found)
    finally:
        schedule.write_text(text)

    assert state["name"] == "TimedOut"
    assert (place.path / "started").exists()
    place.wait_for_no_process()


def test_drift_starts_a_training_where_that_is_wanted(place: Place) -> None:
    """What the scoring flow ends with after drift; that it does is shown in tests/stack."""

    def end_drifted(message: str) -> None:
        state = {"type": "COMPLETED", "name": "Drifted", "message": message}
        address = f"{place.server.api}/flow_runs/{place.start('score')}/set_state"
        call(address, {"state": state, "force": True})

    def trained() -> list[dict[str, Any]]:
        runs = place.server.ask("flow_runs", deployments={"name": {"any_": ["train"]}})
        return [one for one in runs if (one.get("created_by") or {}).get("type") == "AUTOMATION"]

    end_drifted("mean: PSI 0.4")
    end_drifted(f"{RETRAIN}mean: PSI 0.4")

    (run,) = place.wait_for(trained)
    # There is no params.yaml here, so it fails: that is enough to see that it ran.
    place.wait_for(lambda: place.state(run["id"])["type"] == "FAILED")
    place.wait_for_no_process()
    assert len(trained()) == 1


def test_runs_that_came_due_meanwhile_become_one(place: Place) -> None:
    """The worker was away for eight hours: eight runs are late, and the first of them does the work of all."""
    deployment, pool = place.deployment("score"), f"{place.server.api}/work_pools/{POOL}"
    mine = {"deployment_id": {"any_": [deployment]}, "tags": {"all_": ["auto-scheduled"]}}

    def runs() -> list[dict[str, Any]]:
        return place.server.ask("flow_runs", flow_runs=mine)

    def states() -> list[str]:
        return [str(one["state_name"]) for one in runs()]

    now = datetime.now(UTC)
    # The next one comes due in half an hour: none does while this test runs.
    cron = f"{(now - timedelta(minutes=30)).minute} * * * *"
    call(pool, {"is_paused": True}, "patch")
    (schedule,) = call(
        f"{place.server.api}/deployments/{deployment}/schedules",
        [{"schedule": {"cron": cron, "timezone": "UTC"}, "active": True}],
    )
    try:
        call(
            f"{place.server.api}/deployments/{deployment}/schedule",
            {"start_time": (now - timedelta(hours=8)).isoformat(), "end_time": now.isoformat(), "min_runs": 8},
        )
        place.wait_for(lambda: states().count("Late") >= 8)
        call(pool, {"is_paused": False}, "patch")
        # There is no params.yaml here, so the one that runs fails: that is enough to see which one ran.
        place.wait_for(lambda: "Failed" in states() and "Late" not in states())
    finally:
        call(f"{place.server.api}/deployments/{deployment}/schedules/{schedule['id']}", None, "delete")

    told = "\n".join(f"{one['name']}: {one['state_name']}, {one['state']['message']}" for one in runs())
    assert states().count("Failed") == 1, f"{told}\n{place.log.read_text()}"
    assert states().count("Cancelled") >= 7
