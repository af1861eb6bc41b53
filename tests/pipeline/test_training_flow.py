"""The training flow as a user starts it: a real Prefect server, and small real DVC graphs."""

import os
import signal
import subprocess
import sys
from collections import Counter

import pytest
import yaml
from flow_processes import ROOT, Server, call, process, processes_in, wait_for

from unroll.errors import UNAVAILABLE_EXIT

pytestmark = pytest.mark.slow

# Each line of a stage's own file is an action: print, wait for a file, or exit.
STAGE = """
import sys, time
from pathlib import Path

name = sys.argv[1]
with Path("journal").open("a") as journal:
    journal.write(f"start {name}\\n")
Path(f"{name}.started").touch()
for line in Path(f"{name}.actions").read_text().splitlines():
    verb, _, rest = line.partition(" ")
    if verb == "print":
        print(rest)
    elif verb == "wait":
        while not Path(rest).exists():
            time.sleep(0.02)
    elif verb == "exit" or (verb == "exit_once" and Path("journal").read_text().count(f"start {name}\\n") == 1):
        print(f"unroll {name}: 3 rows have no date", file=sys.stderr)
        sys.exit(int(rest))
Path(f"{name}.out").write_text(name)
with Path("journal").open("a") as journal:
    journal.write(f"end {name}\\n")
"""


def write_graph(repo, stages, **actions):
    """Write dvc.yaml: stage -> the stages it reads from."""
    (repo.path / "stage.py").write_text(STAGE)
    entries = {}
    for name, upstream in stages.items():
        (repo.path / f"{name}.actions").write_text(actions.get(name, "pass"))
        deps = ["stage.py", f"{name}.actions", *(f"{other}.out" for other in upstream)]
        entries[name] = {"cmd": f"python stage.py {name}", "deps": deps, "outs": [f"{name}.out"]}
    (repo.path / "dvc.yaml").write_text(yaml.safe_dump({"stages": entries}, sort_keys=False))


# Retries without the wait, and each line of a stage at once.
IMPATIENT = """
from pipelines import display, schedule
display.QUIET_SECONDS = 0
schedule.RETRY_WHEN_UNAVAILABLE["retry_delay_seconds"] = [0.1]
"""
COMMAND = [sys.executable, "-c", f"{IMPATIENT}\nimport sys\nfrom pipelines import run\nsys.exit(run.main())"]


def run(repo, environment, slots=2):
    return subprocess.run(
        [*COMMAND, "--slots", str(slots)],
        cwd=repo.path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def journal(repo):
    return (repo.path / "journal").read_text().splitlines()


def task_runs(server, name, count):
    """The task runs of the flow run that has a task of this name; the server writes them down with a delay."""

    def read():
        (run,) = server.ask("task_runs", task_runs={"name": {"any_": [name]}}) or [None]
        found = server.ask("task_runs", flow_runs={"id": {"any_": [run["flow_run_id"]]}}) if run else []
        ended = [one for one in found if one["end_time"] or one["state_name"] == "NotReady"]
        return found if len(ended) >= count else []

    return list(wait_for(read, 120, lambda: server.ask("task_runs")))


def test_runs_stages_in_parallel_and_shows_the_edges(dvc_repo, prefect_server):
    # `free` and `head` wait for each other, and the stages that wait for `head` are submitted before `free`: the run
    # ends only if two slots are used, and no waiting stage takes one.
    stages = {"head": (), "middle": ("head",), "tail": ("middle",), "free": (), "last": ("tail", "free")}
    write_graph(dvc_repo, stages, head="wait free.started\nprint epoch 1/1  loss 0.5", free="wait head.started")
    environment = prefect_server.environment(ROOT)

    first = run(dvc_repo, environment)

    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    lines = journal(dvc_repo)
    assert set(lines[:2]) == {"start free", "start head"}
    assert lines[-4:] == ["start tail", "end tail", "start last", "end last"]
    assert "head | epoch 1/1  loss 0.5\n" in first.stdout
    assert "[5/5] last: done in" in first.stdout
    # Nothing of DVC's own messages.
    assert [line for line in first.stdout.splitlines() if " | " in line] == ["head | epoch 1/1  loss 0.5"]
    runs = task_runs(prefect_server, "middle", 5)
    graph = call(f"{prefect_server.api}/flow_runs/{runs[0]['flow_run_id']}/graph-v2", None, "get")
    nodes = dict(graph["nodes"])
    parents = {node["label"]: {nodes[one["id"]]["label"] for one in node["parents"]} for node in nodes.values()}
    assert parents == {name: set(upstream) for name, upstream in stages.items()}

    nowhere = environment | {"PREFECT_API_URL": "http://127.0.0.1:1/api"}
    second = run(dvc_repo, nowhere)
    assert (second.returncode, second.stdout) == (0, "Nothing to do: all 5 stages are up to date.\n")

    (dvc_repo.path / "free.actions").write_text("print changed")
    assert run(dvc_repo, environment).returncode == 0
    # The output of `free` is the same as before, so DVC has nothing to do for what depends on it.
    assert journal(dvc_repo)[len(lines) :] == ["start free", "end free"]
    lock = (dvc_repo.path / "dvc.lock").read_bytes()
    dvc_repo.dvc("commit", "--force")
    assert (dvc_repo.path / "dvc.lock").read_bytes() == lock, "DVC writes another file"


@pytest.mark.parametrize("flow", ["run", "batch_inference"])
def test_a_prefect_server_that_is_away_is_one_line_and_an_exit_code(dvc_repo, flow):
    write_graph(dvc_repo, {"one": ()})
    environment = Server("http://127.0.0.1:1/api", dvc_repo.path / "home").environment(ROOT)
    command = [sys.executable, "-m", f"pipelines.{flow}"]
    done = subprocess.run(command, cwd=dvc_repo.path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == UNAVAILABLE_EXIT, done.stderr
    (line,) = done.stderr.splitlines()
    assert "http://127.0.0.1:1/api" in line
    assert not (dvc_repo.path / "journal").exists()


def test_failures_block_what_depends_on_them_and_absent_servers_are_retried(dvc_repo, prefect_server):
    write_graph(
        dvc_repo,
        {"bad": (), "away": (), "on_bad": ("bad",), "on_away": ("away",), "on_both": ("on_bad", "on_away")},
        bad="print looking\nexit 2",
        away="exit_once 75",
    )

    done = run(dvc_repo, prefect_server.environment(ROOT))

    assert done.returncode == 1
    assert [line for line in journal(dvc_repo) if line.startswith("end")] == ["end away", "end on_away"]
    assert journal(dvc_repo).count("start bad") == 1
    assert journal(dvc_repo).count("start away") == 2
    assert "1 of 5 stages failed" in done.stderr
    assert "unroll bad: 3 rows have no date" in done.stderr
    assert "on_bad, on_both" in done.stderr
    assert "Traceback" not in done.stderr
    runs = task_runs(prefect_server, "on_away", 5)
    states = {run["name"]: run["state_name"] for run in runs}
    assert states == {
        "bad": "Failed", "away": "Completed", "on_away": "Completed", "on_bad": "NotReady", "on_both": "NotReady",
    }  # fmt: skip
    (flow,) = prefect_server.ask("flow_runs", flow_runs={"id": {"any_": [runs[0]["flow_run_id"]]}})
    assert flow["state_type"] == "FAILED"


STOPS = {"terminated": 130, "killed": -signal.SIGKILL, "timed out": 1}


@pytest.mark.parametrize("end", STOPS)
def test_a_stopped_flow_leaves_no_process_and_is_resumed(dvc_repo, prefect_server, tmp_path, end):
    write_graph(dvc_repo, {"a": (), "b": ("a",), "c": ("a",)}, b="print epoch 1/2\nwait seen", c="wait seen")
    log = tmp_path / "flow.log"
    environment = prefect_server.environment(ROOT)
    command = [*COMMAND, "--slots", "2"]
    if end == "timed out":
        flow = "from pipelines.training import train\ntrain.with_options(timeout_seconds=15)(slots=2)"
        command = [sys.executable, "-c", f"{IMPATIENT}\n{flow}"]

    with process(command, log, cwd=dvc_repo.path, env=environment) as flow:

        def both_run():
            assert flow.poll() is None, log.read_text()
            return (dvc_repo.path / "c.started").exists() and "b | epoch 1/2\n" in log.read_text()

        wait_for(both_run, 300, log.read_text)
        if end != "timed out":
            flow.send_signal(signal.SIGTERM if end == "terminated" else signal.SIGKILL)
        assert flow.wait(180) == STOPS[end], log.read_text()

    wait_for(lambda: not processes_in(dvc_repo.path), 60, lambda: processes_in(dvc_repo.path))
    (dvc_repo.path / "seen").touch()
    resumed = run(dvc_repo, environment)
    assert resumed.returncode == 0, resumed.stderr
    assert Counter(journal(dvc_repo)) == {
        "start a": 1, "end a": 1, "start b": 2, "end b": 1, "start c": 2, "end c": 1,
    }  # fmt: skip


def test_needs_no_server(dvc_repo, tmp_path):
    write_graph(dvc_repo, {"only": ()}, only="print here")
    mine = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    done = run(dvc_repo, mine | {"PREFECT_HOME": str(tmp_path / "home"), "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"})
    assert done.returncode == 0, done.stderr
    assert "only | here\n" in done.stdout
    assert done.stderr == ""


def test_a_faulty_graph_is_an_error_of_the_user(dvc_repo, prefect_server):
    (dvc_repo.path / "dvc.yaml").write_text("stages:\n  a:\n    command: misspelt\n")
    done = run(dvc_repo, prefect_server.environment(ROOT))
    assert done.returncode == 2
    assert "dvc.yaml" in done.stderr
    assert "Traceback" not in done.stderr
