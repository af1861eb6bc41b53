"""How the training flow is planned, what it prints at the end, and its child processes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from flow_processes import ROOT, processes_in, wait_for

from pipelines import graph, summary, training
from pipelines.processes import Children
from pipelines.stages import Slots
from unroll import paths
from unroll.files import digest_of, write_json


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "bin").mkdir()
    parameters = yaml.safe_load((ROOT / "params.yaml").read_text())
    next(iter(parameters["experiments"].values()))["training"]["threads"] = 3
    paths.PARAMS.write_text(yaml.safe_dump(parameters, sort_keys=False))


@pytest.mark.parametrize(
    ("script", "devices", "slots"),
    [("echo 'GPU 0: Any'", None, 1), ("echo 'GPU 0: Any'", "", 5), ("echo 'No devices were found'; exit 6", None, 5)],
)
def test_one_slot_where_stages_would_share_a_gpu(script, devices, slots, monkeypatch):
    monkeypatch.setattr(training, "_cores", lambda: 16)
    if devices is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)
    program = Path("bin/nvidia-smi")
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    assert training.default_slots() == slots


GRAPH = {
    "ingest@a": frozenset[str](),
    "train@short": frozenset({"ingest@a"}),
    "export@short": frozenset({"train@short"}),
    "ingest@b": frozenset[str](),
    "train@long": frozenset({"ingest@b"}),
    "export@long": frozenset({"train@long"}),
    "compare": frozenset({"export@short", "export@long"}),
}
SECONDS = {"train@long": 100.0, "train@short": 3.0}


def seconds_of(stage):
    return SECONDS.get(stage, 1.0)


def test_distances_to_the_end_and_to_a_result():
    to_end = graph.seconds_to_end(GRAPH, seconds_of)
    assert (to_end["ingest@b"], to_end["train@short"], to_end["compare"]) == (103, 5, 1)
    to_result = graph.seconds_to_result(GRAPH, seconds_of)
    short = dict.fromkeys(("ingest@a", "train@short", "export@short"), 5)
    assert to_result == {**short, **dict.fromkeys(("ingest@b", "train@long", "export@long"), 102)}
    assert graph.blocked_by(GRAPH, "ingest@a") == {"train@short", "export@short", "compare"}
    assert graph.needed_for(GRAPH, ["short"]) == {"export@short", "train@short", "ingest@a"}
    with pytest.raises(graph.DvcError, match=r"no experiment other; there are: long, short"):
        graph.needed_for(GRAPH, ["short", "other"])


NEAREST_FIRST = ["ingest@a", "train@short", "ingest@b", "compare"]


@pytest.mark.parametrize(
    ("count", "unrelated", "expected"),
    [(1, 0, NEAREST_FIRST), (2, 150, NEAREST_FIRST), (2, 0, ["ingest@b", "ingest@a", "train@short", "compare"])],
)
def test_slots_take_the_nearest_result_until_the_longest_chain_must_begin(count, unrelated, expected):
    seconds = {"unrelated": unrelated, **{stage: seconds_of(stage) for stage in GRAPH}}
    stages = {"unrelated": frozenset[str](), **GRAPH}
    to_end = graph.seconds_to_end(stages, seconds.__getitem__)
    slots = Slots(count, stages, to_end, graph.seconds_to_result(GRAPH, seconds_of), seconds.__getitem__)
    slots._expected_until = 0
    order: list[str] = []
    ended = {name: threading.Event() for name in expected}

    def stage(name):
        with slots.take(name):
            order.append(name)
            ended[name].wait()

    def wait_until(so_many):
        while len(order) < so_many:
            pass

    threads = [threading.Thread(target=stage, args=(name,)) for name in expected]
    with contextlib.ExitStack() as others:
        if count == 2:
            others.enter_context(slots.take("export@short"))
        with slots.take("export@long"):
            for thread in threads:
                thread.start()
            while len(slots._waiting) < len(threads):
                pass
        wait_until(1)
    for number in range(1, len(expected)):
        # With two slots, the longest chain keeps one of them to the end.
        if count == 1 or number > 1:
            ended[order[number - 1]].set()
        wait_until(number + 1)
    for event in ended.values():
        event.set()
    for thread in threads:
        thread.join()
    assert order == expected


def test_a_slot_is_kept_for_the_stage_that_follows():
    slots = Slots(
        1, GRAPH, graph.seconds_to_end(GRAPH, seconds_of), graph.seconds_to_result(GRAPH, seconds_of), seconds_of
    )
    order: list[str] = []

    def stage(name):
        with slots.take(name):
            order.append(name)

    other, following = (threading.Thread(target=stage, args=(name,)) for name in ("ingest@b", "train@short"))
    with slots.take("ingest@a"):
        other.start()
        while not slots._waiting:
            pass
        slots.completed("ingest@a")
    following.start()
    following.join()
    other.join()
    assert order == ["train@short", "ingest@b"]


def trained(experiment, seconds):
    """Write weights and how long their training took."""
    paths.weights(experiment).mkdir(parents=True)
    (paths.weights(experiment) / "all-seed0.safetensors").write_bytes(b"weights")
    timing = {"seconds": seconds, "epochs": 4, "weights_sha256": digest_of(paths.weights(experiment))}
    paths.timing(experiment).write_text(json.dumps(timing))


def test_prints_the_leaderboard_and_where_things_are(capsys):
    summary.print_results(summary.read_results())
    assert capsys.readouterr().out == ""
    first, second = ("mnist-lstm", "reviews-bilstm")
    trained(first, 12.6)
    row = {"task": "rows", "metric": "accuracy", "value": 0.987600001, "baseline": "majority", "baseline_value": 0.1135}
    for name, more in ((second, {"task": "texts"}), (first, {}), ("removed", {})):
        write_json(paths.result(name), {**row, "parity": "passed", **more, "experiment": name})

    summary.print_results(summary.read_results())

    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert cells == [
        [first, "rows", "accuracy", "0.9876", "majority", "0.1135", "passed", "13"],
        [second, "texts", "accuracy", "0.9876", "majority", "0.1135", "passed", ""],
    ]
    assert any("models/EXPERIMENT/bundle/" in line for line in lines)
    assert [row["experiment"] for row in summary.read_results([second])] == [second]


# A child that starts a program of its own; both ignore what asks them to stop.
STUBBORN = """
import signal, subprocess, sys, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
if sys.argv[1:]:
    subprocess.Popen([sys.executable, __file__])
print("running", flush=True)
time.sleep(600)
"""
FLOW = """
import sys
from pipelines.processes import Children
Children().run([sys.executable, "stubborn.py", "first"], print)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    (tmp_path / "flow.py").write_text(FLOW)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def wait_for_stubborn(folder, count):
    wait_for(lambda: len(processes_in(folder, "stubborn.py")) == count, 120, lambda: processes_in(folder))


@pytest.mark.slow
def test_a_killed_flow_leaves_no_child(folder):
    with subprocess.Popen([sys.executable, "flow.py"], env=os.environ | {"PYTHONPATH": str(ROOT)}) as flow:
        wait_for_stubborn(folder, 2 + 1)  # the command line of the shell that guards them has the name, too
        flow.kill()
    wait_for_stubborn(folder, 0)


@pytest.mark.slow
def test_stopped_children_are_gone_with_what_they_started(folder):
    children = Children()
    lines: list[str] = []
    command = [sys.executable, "stubborn.py", "first"]
    thread = threading.Thread(target=children.run, args=(command, lines.append))
    thread.start()
    wait_for(lambda: lines.count("running") == 2, 120, lambda: lines)

    children.stop()

    thread.join(60)
    assert not thread.is_alive()
    wait_for_stubborn(folder, 0)
    with pytest.raises(InterruptedError):
        children.run(["true"], print)


@pytest.mark.parametrize(
    ("script", "status"),
    [("sys.exit(3)", 3), ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL)],
)
def test_status_and_output_are_those_of_the_command(script, status):
    lines: list[str] = []
    program = "import sys; print('out', flush=True); sys.stderr.write('err\\n' * 40); assert not sys.stdin.read(); "
    found = Children().run([sys.executable, "-c", program + script], lines.append)
    assert found == (status, ["err"] * 20)
    assert lines == ["out"] + ["err"] * 40
