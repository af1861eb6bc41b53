"""Stages on Dask workers in clones of their own: the dvc.lock of one machine, and a worker killed in a stage."""

import contextlib
import json
import signal
import subprocess
import sys

import distributed
import pytest
import yaml
from flow_processes import ROOT, DvcRepo, process, processes_in, wait_for
from servers import free_port

from pipelines import dask_stages
from pipelines.dask_stages import Order

pytestmark = pytest.mark.slow

# Baselines wait for each other: they run at the same time or never end.
STAGE = """
import json, sys, time
from pathlib import Path

name, out, *inputs = sys.argv[1:]
verb, _, experiment = name.partition("@")
with Path("journal").open("a") as journal:
    journal.write(f"{name}\\n")
shared = Path(Path("shared").read_text())
(shared / name).touch()
print("begins")
while verb == "baseline" and not all((shared / one).exists() for one in ("baseline@one", "baseline@two", "go")):
    time.sleep(0.02)
if verb == "train":
    Path("models", experiment).mkdir(parents=True, exist_ok=True)
    Path("models", experiment, "provenance.json").write_text(json.dumps({"clone": str(Path.cwd())}))
Path(out).write_text("".join(Path(one).read_text() for one in inputs) + name)
"""
# Each line of a stage is shown at once.
FLOW = """
import sys
from pipelines import display, run

display.QUIET_SECONDS = 0
sys.exit(run.main())
"""
EXPERIMENTS = ("one", "two")


def each(verb, *inputs):
    command = [sys.executable, "stage.py", f"{verb}@${{item}}", f"{verb}_${{item}}.out", *inputs]
    entry = {"cmd": " ".join(command), "deps": ["stage.py", *inputs], "outs": [f"{verb}_${{item}}.out"]}
    return {"foreach": list(EXPERIMENTS), "do": entry}


class Machines:
    """A repository, its remote, a scheduler, and workers."""

    def __init__(self, repo, folder, environment, stack):
        self.repo, self.folder, self.environment, self._stack = repo, folder, environment, stack
        self.shared = folder / "shared"
        self.shared.mkdir()
        self.scheduler = f"tcp://127.0.0.1:{free_port()}"

    def start(self, name, *command, cwd):
        log = self.folder / f"{name}.log"
        child = process([sys.executable, *command], log, cwd=cwd, env=self.environment)
        return self._stack.enter_context(child), log

    def start_scheduler(self):
        host, port = self.scheduler.removeprefix("tcp://").split(":")
        options = ["--host", host, "--port", port, "--no-dashboard"]
        self.start("scheduler", "-m", "distributed.cli.dask_scheduler", *options, cwd=self.folder)

    def start_worker(self, name, *options):
        clone = self.clone(name)
        program = ["-m", "distributed.cli.dask_worker", self.scheduler, "--nthreads", "1", "--no-nanny"]
        worker, log = self.start(
            name, *program, "--no-dashboard", "--local-directory", f"{clone.path}-spill", *options, cwd=clone.path
        )
        wait_for(lambda: "Registered to" in log.read_text(), 300, log.read_text)
        return clone, worker

    def clone(self, name):
        self.git("clone", "--quiet", str(self.repo.path), str(self.folder / name))
        return DvcRepo(self.folder / name)

    def git(self, *arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        subprocess.run(["git", *who, *arguments], cwd=self.repo.path, check=True)  # noqa: S607 -- that of PATH

    def start_flow(self):
        return self.start("flow", "-c", FLOW, "--scheduler", self.scheduler, cwd=self.repo.path)


@pytest.fixture
def machines(dvc_repo, prefect_server, tmp_path, tiny, _empty_store):
    parameters = {}
    for name in EXPERIMENTS:
        for section, entries in tiny.parameters("digits", name, training={"device": "auto"}).items():
            parameters.setdefault(section, {}).update(entries)
    stages = {
        "featurize": {
            "foreach": ["steps"],
            "do": {
                "cmd": f"{sys.executable} stage.py featurize@${{item}} features.out",
                "deps": ["stage.py", "shared"],
                "outs": ["features.out"],
            },
        },
        "baseline": each("baseline", "features.out"),
        "train": each("train", "features.out", "baseline_${item}.out"),
        "compare": {
            "cmd": f"{sys.executable} stage.py compare compare.out train_one.out train_two.out",
            "deps": ["stage.py", "train_one.out", "train_two.out"],
            "outs": ["compare.out"],
        },
    }
    files = {
        "stage.py": STAGE,
        "shared": str(tmp_path / "shared"),
        ".gitignore": "*.out\njournal\n/models\n/.unroll\n",
        "params.yaml": yaml.safe_dump(parameters, sort_keys=False),
        "dvc.yaml": yaml.safe_dump({"stages": stages}, sort_keys=False),
    }
    for name, text in files.items():
        (dvc_repo.path / name).write_text(text)
    dvc_repo.dvc("remote", "add", "--default", "store", str(tmp_path / "remote"))
    environment = prefect_server.environment(ROOT) | {"MLFLOW_TRACKING_URI": f"sqlite:///{_empty_store}"}
    with contextlib.ExitStack() as stack:
        found = Machines(dvc_repo, tmp_path, environment, stack)
        found.git("add", ".")
        found.git("commit", "--quiet", "-m", "A graph")
        found.start_scheduler()
        yield found


def journal(repo):
    path = repo.path / "journal"
    return path.read_text().split() if path.exists() else []


def lock_of_one_machine(machines):
    alone = machines.clone("alone")
    alone.dvc("repro")
    return yaml.safe_load((alone.path / "dvc.lock").read_text())


def test_the_lock_file_of_one_machine(machines):
    a, _ = machines.start_worker("a")
    b, _ = machines.start_worker("b", "--resources", "gpu=1")
    (machines.shared / "go").touch()
    flow, log = machines.start_flow()
    assert flow.wait(600) == 0, log.read_text()
    assert journal(machines.repo) == ["featurize@steps", "compare"]
    assert len(journal(a)) == 1
    # Trainings go where a GPU is.
    assert sorted(journal(a) + journal(b)) == ["baseline@one", "baseline@two", "train@one", "train@two"]
    assert {"train@one", "train@two"} <= set(journal(b))
    assert "baseline@one | begins\n" in log.read_text()
    # DVC tracks no provenance.
    provenance = json.loads((machines.repo.path / "models/one/provenance.json").read_text())
    assert provenance == {"clone": str(b.path)}
    lock = yaml.safe_load((machines.repo.path / "dvc.lock").read_text())
    assert lock == lock_of_one_machine(machines)
    assert "up to date" in machines.repo.dvc("status")


def wait_for_both(machines, flow, log):
    def both_run():
        assert flow.poll() is None, log.read_text()
        return all((machines.shared / f"baseline@{name}").exists() for name in EXPERIMENTS)

    wait_for(both_run, 600, log.read_text)


def test_a_killed_worker_is_replaced_by_another(machines):
    workers = dict(machines.start_worker(name) for name in ("a", "b"))
    flow, log = machines.start_flow()
    wait_for_both(machines, flow, log)
    (killed,) = [clone for clone in workers if journal(clone) == ["baseline@one"]]
    (other,) = workers.keys() - {killed}
    workers[killed].kill()
    (machines.shared / "go").touch()
    assert flow.wait(600) == 0, log.read_text()
    assert sorted(journal(other)) == ["baseline@one", "baseline@two", "train@one", "train@two"]
    assert yaml.safe_load((machines.repo.path / "dvc.lock").read_text()) == lock_of_one_machine(machines)
    wait_for(lambda: not processes_in(killed.path), 120, lambda: processes_in(killed.path))


def test_a_stopped_flow_takes_what_workers_finish(machines):
    clones = [machines.start_worker(name)[0] for name in ("a", "b")]
    flow, log = machines.start_flow()
    wait_for_both(machines, flow, log)
    flow.send_signal(signal.SIGTERM)
    assert flow.wait(180) == 130, log.read_text()
    (machines.shared / "go").touch()
    flow, log = machines.start_flow()
    assert flow.wait(600) == 0, log.read_text()
    # Whichever worker has them, no stage runs twice.
    done = sorted(stage for clone in clones for stage in journal(clone))
    assert done == ["baseline@one", "baseline@two", "train@one", "train@two"]


@pytest.mark.parametrize("difference", ["params.yaml", "git commit"])
def test_a_worker_whose_clone_differs_refuses(machines, monkeypatch, difference):
    clone, _ = machines.start_worker("a")
    if difference == "params.yaml":
        (clone.path / difference).write_text("")
    else:
        machines.git("commit", "--quiet", "--allow-empty", "-m", "Another one")
    monkeypatch.chdir(machines.repo.path)
    order = Order("baseline@one", (), "", dask_stages.state(), "topic")
    with distributed.Client(machines.scheduler, set_as_default=False, timeout=300) as client:
        status, (message,), _ = client.submit(dask_stages.on_worker, order).result(600)
    assert status != 0
    assert message.endswith(f"its clone differs from the flow's: {difference}")
    assert journal(clone) == []
