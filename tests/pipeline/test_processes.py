"""Child processes of a flow: their output, and that none is left when the flow ends."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from flow_processes import ROOT, processes_in, wait_for

from pipelines.processes import Children

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
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    (tmp_path / "flow.py").write_text(FLOW)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def wait_for_stubborn(folder: Path, count: int) -> None:
    wait_for(lambda: len(processes_in(folder, "stubborn.py")) == count, 120, lambda: processes_in(folder))


@pytest.mark.slow
def test_a_killed_flow_leaves_no_child(folder: Path) -> None:
    with subprocess.Popen([sys.executable, "flow.py"], env=os.environ | {"PYTHONPATH": str(ROOT)}) as flow:
        wait_for_stubborn(folder, 2 + 1)  # the command line of the shell that guards them has the name, too
        flow.kill()
    wait_for_stubborn(folder, 0)


@pytest.mark.slow
def test_stopped_children_are_gone_with_what_they_started(folder: Path) -> None:
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
def test_status_and_output_are_those_of_the_command(script: str, status: int) -> None:
    lines: list[str] = []
    program = "import sys; print('out', flush=True); sys.stderr.write('err\\n' * 40); assert not sys.stdin.read(); "
    found = Children().run([sys.executable, "-c", program + script], lines.append)
    assert found == (status, ["err"] * 20)
    assert lines == ["out"] + ["err"] * 40
