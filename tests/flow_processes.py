"""Processes that tests of the flows start: a Prefect server, flows, DVC."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Server:
    """A Prefect server of this test session."""

    api: str
    home: Path

    def environment(self, *import_roots: Path) -> dict[str, str]:
        """Return the environment of a process that uses this server, whatever the developer has set."""
        mine = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        paths = os.pathsep.join(map(str, [*import_roots, ROOT / "src"]))
        return mine | {
            "PREFECT_API_URL": self.api,
            "PREFECT_HOME": str(self.home),
            "DO_NOT_TRACK": "1",
            "PYTHONPATH": paths,
            "PYTHONUNBUFFERED": "1",
        }

    def ask(self, what: str, **question: Any) -> list[dict[str, Any]]:
        """Return entries of the server, such as `ask("task_runs", …)`."""
        entries: list[dict[str, Any]] = call(f"{self.api}/{what}/filter", question)
        return entries


def call(address: str, content: Any, method: str = "post") -> Any:
    """Return the answer of a server; while it writes, SQLite may be locked and the server unavailable."""
    for _ in range(20):
        answer = requests.request(method, address, json=content, timeout=180)
        if answer.status_code != requests.codes.service_unavailable:
            break
        time.sleep(1)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def wait_for(what: Callable[[], Any], seconds: float, describe: Callable[[], object]) -> Any:
    """Wait until `what` returns something true, and return it; fail with a description when the time is up."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, describe()
        time.sleep(0.5)
    return found


def processes_in(folder: Path, word: str = "") -> list[psutil.Process]:
    """Return the processes whose working directory is the folder, with the word in their command line."""
    found = []
    for one in psutil.process_iter():
        try:
            if one.cwd() == str(folder) and one.status() != psutil.STATUS_ZOMBIE and word in " ".join(one.cmdline()):
                found.append(one)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@contextlib.contextmanager
def process(command: list[str], log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which is gone with all its children when the block ends."""
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **options,
        )
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(15)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


@dataclass(frozen=True)
class DvcRepo:
    """A git and DVC repository whose stages are all `python stage.py NAME`."""

    path: Path

    def initialize(self) -> None:
        subprocess.run(["git", "init", "--quiet"], cwd=self.path, check=True)  # noqa: S607 -- that of PATH
        self.dvc("init", "--quiet")
        self.dvc("config", "core.analytics", "false")

    def dvc(self, *arguments: str) -> str:
        """What DVC says; its warnings, too."""
        command = [sys.executable, "-m", "dvc", *arguments]
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.run(command, cwd=self.path, check=True, text=True, **output).stdout
