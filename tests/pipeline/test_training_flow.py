"""The training flow, as a user starts it, on a real Prefect server and small real DVC graphs."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from flow_processes import ROOT, DvcRepo, Server, process, processes_in, wait_for

pytestmark = pytest.mark.slow

# What a stage does stands in lines of its own file: what it prints, waits for, or ends with.
STAGE = """
import sys, time
from pathlib import Path

name = sys.argv[1]
with Path("journal").open("a") as journal:
    journal.write(f"start {name}\\n")
Path(f"{name}.started").touch()
for line in Path(f"{name}.todo").read_text().splitlines():
    verb, _, rest = line.partition(" ")
    if verb == "print":
        print(rest)
    elif verb == "wait":
        deadline = time.monotonic() + 300
        while not Path(rest).exists():
            if time.monotonic() > deadline:
                sys.exit(f"{rest} never came")
            time.sleep(0.02)
    elif verb == "fail":
        sys.exit(f"unroll {name}: {rest}")
Path(f"{name}.out").write_text(name)
with Path("journal").open("a") as journal:
    journal.write(f"end {name}\\n")
"""


def graph(repo: DvcRepo, stages: dict[str, tuple[str, ...]], **todo: str) -> None:
    """Writes dvc.yaml: stage -> the stages it reads from, with what each one does."""
    (repo.path / "stage.py").write_text(STAGE)
    entries = {}
    for name, upstream in stages.items():
        (repo.path / f"{name}.todo").write_text(todo.get(name, ""))
        deps = ["stage.py", f"{name}.todo", *(f"{other}.out" for other in upstream)]
        entries[name] = {"cmd": f"python stage.py {name}", "deps": deps, "outs": [f"{name}.out"]}
    (repo.path / "dvc.yaml").write_text(yaml.safe_dump({"stages": entries}, sort_keys=False))


def command(slots: int) -> list[str]:
    return [sys.executable, "-m", "pipelines.training", "--slots", str(slots)]


def run(repo: DvcRepo, server: Server, slots: int = 2) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(slots),
        cwd=repo.path,
        env=server.environment(ROOT),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def asked(server: Server, count: int, what: str, **question: Any) -> list[dict[str, Any]]:
    """Entries of the server, once there are so many: it writes down what it was told after the flow has ended, too."""
    found: list[dict[str, Any]] = []

    def enough() -> bool:
        found[:] = server.ask(what, **question)
        return len(found) >= count

    wait_for(enough, 120, lambda: found)
    return found


def journal(repo: DvcRepo) -> list[str]:
    return (repo.path / "journal").read_text().splitlines()


def test_runs_independent_stages_side_by_side_and_each_after_what_it_reads(
    dvc_repo: DvcRepo, prefect_server: Server
) -> None:
    # a and b each wait until the other has started: one after the other, neither would end.
    graph(
        dvc_repo,
        {"a": (), "b": (), "joined": ("a", "b"), "after": ("joined",)},
        a="wait b.started\nprint epoch 1/1  loss 0.5",
        b="wait a.started",
    )

    first = run(dvc_repo, prefect_server)

    assert first.returncode == 0, first.stderr
    lines = journal(dvc_repo)
    assert set(lines[:2]) == {"start a", "start b"}
    assert set(lines[2:4]) == {"end a", "end b"}
    assert lines[4:] == ["start joined", "end joined", "start after", "end after"]
    assert "a | epoch 1/1  loss 0.5\n" in first.stdout
    assert "[4/4] after: done in" in first.stdout
    assert "Updating lock file" not in first.stdout
    assert first.stderr == ""

    second = run(dvc_repo, prefect_server)

    assert second.returncode == 0
    assert second.stdout == "Nothing to do: all 4 stages are up to date.\n"
    assert journal(dvc_repo) == lines

    (dvc_repo.path / "b.todo").write_text("print changed")
    third = run(dvc_repo, prefect_server)

    assert third.returncode == 0, third.stderr
    # b's output is the same as before, so DVC has nothing to do for what builds on it.
    assert journal(dvc_repo)[len(lines) :] == ["start b", "end b"]


def test_the_longest_way_starts_first(dvc_repo: DvcRepo, prefect_server: Server) -> None:
    graph(dvc_repo, {"short": (), "head": (), "middle": ("head",), "tail": ("middle",)})

    assert run(dvc_repo, prefect_server, slots=1).returncode == 0

    starts = [line.removeprefix("start ") for line in journal(dvc_repo) if line.startswith("start")]
    assert starts[:2] == ["head", "middle"]


def test_a_failed_stage_stops_only_what_builds_on_it(dvc_repo: DvcRepo, prefect_server: Server) -> None:
    graph(
        dvc_repo,
        {"bad": (), "good": (), "on_bad": ("bad",), "on_good": ("good",), "on_both": ("on_bad", "on_good")},
        bad="print looking\nfail 3 rows have no date, the first is row 7",
        good="print fine",
    )

    result = run(dvc_repo, prefect_server)

    assert result.returncode == 1
    assert [line for line in journal(dvc_repo) if line.startswith("end")] == ["end good", "end on_good"]
    assert "1 of 5 stages failed" in result.stderr
    assert "unroll bad: 3 rows have no date, the first is row 7" in result.stderr
    assert "looking" not in result.stderr
    assert "not run, because they build on what failed: on_bad, on_both" in result.stderr
    assert "Traceback" not in result.stderr
    wanted = {"name": {"any_": ["bad", "on_good"]}, "state": {"type": {"any_": ["FAILED", "COMPLETED"]}}}
    runs = asked(prefect_server, 2, "task_runs", sort="ID_DESC", limit=50, task_runs=wanted)
    assert {run["name"]: run["state_type"] for run in runs} == {"bad": "FAILED", "on_good": "COMPLETED"}
    flow = prefect_server.ask("flow_runs", flow_runs={"id": {"any_": [runs[0]["flow_run_id"]]}})[0]
    assert flow["state_type"] == "FAILED"


def test_lines_come_as_they_are_printed(dvc_repo: DvcRepo, prefect_server: Server, tmp_path: Path) -> None:
    # The stage prints, then waits for a file that is written only once its line has been seen.
    graph(dvc_repo, {"slow_stage": ()}, slow_stage="print epoch 1/2  loss 0.25\nwait seen\nprint epoch 2/2  loss 0.125")
    log = tmp_path / "flow.log"

    with process(command(1), log, cwd=dvc_repo.path, env=prefect_server.environment(ROOT)) as flow:

        def seen() -> bool:
            assert flow.poll() is None, log.read_text()
            return "slow_stage | epoch 1/2  loss 0.25\n" in log.read_text()

        wait_for(seen, 300, log.read_text)
        (dvc_repo.path / "seen").touch()
        assert flow.wait(180) == 0, log.read_text()

    assert "slow_stage | epoch 2/2  loss 0.125\n" in log.read_text()
    runs = asked(prefect_server, 1, "task_runs", task_runs={"name": {"any_": ["slow_stage"]}})
    logged = asked(prefect_server, 2, "logs", logs={"task_run_id": {"any_": [runs[0]["id"]]}}, sort="TIMESTAMP_ASC")
    assert [entry["message"] for entry in logged][:2] == ["epoch 1/2  loss 0.25", "epoch 2/2  loss 0.125"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_flow_leaves_no_process_and_no_lock(
    dvc_repo: DvcRepo, prefect_server: Server, tmp_path: Path, number: signal.Signals
) -> None:
    graph(dvc_repo, {"a": (), "b": ()}, a="wait never", b="wait never")
    log = tmp_path / "flow.log"

    with process(
        command(2),
        log,
        cwd=dvc_repo.path,
        env=prefect_server.environment(ROOT),
        # A test run in a shell's background would hand on that interrupts are ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as flow:

        def both_run() -> bool:
            assert flow.poll() is None, log.read_text()
            return all((dvc_repo.path / f"{name}.started").exists() for name in "ab")

        wait_for(both_run, 300, log.read_text)
        flow.send_signal(number)
        assert flow.wait(180) == 130, log.read_text()

    assert "Interrupted. What is done is kept" in log.read_text()
    wait_for(lambda: not processes_in(dvc_repo.path), 60, lambda: processes_in(dvc_repo.path))
    graph(dvc_repo, {"a": (), "b": ()})
    assert "a.out" in dvc_repo.dvc("stage", "list")
    assert "Auto removed it from the lock file" not in dvc_repo.dvc("repro")


def test_writes_the_lock_file_that_dvc_repro_writes(dvc_repo: DvcRepo, prefect_server: Server) -> None:
    # a, the first of the graph, ends after b.
    graph(dvc_repo, {"a": (), "b": (), "c": ("a", "b")}, a="wait b.out")
    lock = dvc_repo.path / "dvc.lock"
    assert run(dvc_repo, prefect_server).returncode == 0
    written = lock.read_text()
    for name in ("dvc.lock", "a.out", "b.out", "c.out"):
        (dvc_repo.path / name).unlink()

    dvc_repo.dvc("repro")  # takes the outputs from DVC's cache, in the graph's order

    assert lock.read_text() == written


def test_needs_no_server(dvc_repo: DvcRepo, tmp_path: Path) -> None:
    graph(dvc_repo, {"only": ()}, only="print here")
    mine = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    result = subprocess.run(
        command(1),
        cwd=dvc_repo.path,
        env=mine | {"PREFECT_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    assert "only | here\n" in result.stdout
    assert result.stderr == ""


def test_says_what_is_wrong_with_the_graph(dvc_repo: DvcRepo, prefect_server: Server) -> None:
    (dvc_repo.path / "dvc.yaml").write_text("stages:\n  a:\n    command: misspelt\n")

    result = run(dvc_repo, prefect_server)

    assert result.returncode == 2
    assert "dvc.yaml" in result.stderr
    assert "Traceback" not in result.stderr
