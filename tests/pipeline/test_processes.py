"""Child processes of a flow: what becomes of them when it ends, and how."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from flow_processes import ROOT

from pipelines.processes import Children

# A child that starts a program of its own; both write down who they are, and ignore what asks them to stop.
CHILD = """
import os, signal, subprocess, sys, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
if sys.argv[1:]:
    subprocess.Popen([sys.executable, __file__])
open(f"{os.getpid()}.pid", "w").close()
time.sleep(600)
"""
FLOW = """
import sys
from pipelines.processes import Children
with Children().start([sys.executable, "child.py", "first"]) as child:
    child.wait()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "child.py").write_text(CHILD)
    (tmp_path / "flow.py").write_text(FLOW)
    return tmp_path


def wait_for_pids(folder: Path, count: int) -> list[int]:
    deadline = time.monotonic() + 180
    while len(found := list(folder.glob("*.pid"))) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return [int(path.stem) for path in found]


def alive(numbers: list[int]) -> list[int]:
    return [one for one in numbers if psutil.pid_exists(one) and psutil.Process(one).status() != psutil.STATUS_ZOMBIE]


def wait_until_gone(numbers: list[int]) -> None:
    """Killed is not yet gone on a machine with much to do."""
    deadline = time.monotonic() + 180
    while alive(numbers):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_a_flow_that_is_killed_leaves_no_child(folder: Path) -> None:
    flow = subprocess.Popen([sys.executable, "flow.py"], cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)})
    pids = wait_for_pids(folder, 2)
    assert len(alive(pids)) == 2

    flow.kill()
    flow.wait()

    wait_until_gone(pids)


@pytest.mark.slow
def test_stopped_children_are_gone_with_what_they_started(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    children = Children()
    with children.start([sys.executable, "child.py", "first"]) as child:
        pids = wait_for_pids(folder, 2)
        children.stop()
        assert child.poll() is not None
        wait_until_gone(pids)
    with pytest.raises(InterruptedError), children.start(["true"]):
        pass


@pytest.mark.parametrize(
    ("script", "status"),
    [("import sys; sys.exit(3)", 3), ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL)],
)
def test_exit_status_and_output_are_the_commands(script: str, status: int) -> None:
    command = [sys.executable, "-c", f"print('here', flush=True); import sys; assert not sys.stdin.read(); {script}"]
    with Children().start(command) as child:
        assert child.stdout is not None
        assert child.stdout.read() == "here\n"
        assert child.wait() == status
