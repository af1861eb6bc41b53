"""Stacks of a test's own: other ports than usual, other state, and nothing left of them."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from stack import postgres
from stack.state import PORTS, StackError

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Stack:
    """A stack in a folder; what is called as `python -m stack`."""

    folder: Path

    def call(
        self, verb: str, *options: str, code: Path = ROOT / "src", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs the command; `code` is what the worker's flows import."""
        mine = {
            name: value for name, value in os.environ.items() if not re.match("MLFLOW_|PREFECT_|AWS_|PG|UNROLL_", name)
        }
        ports = [option for service in PORTS for option in (f"--{service}-port", "0")] if verb == "start" else []
        # Ports are chosen at the first start alone.
        if (self.folder / "ports.json").exists():
            ports = []
        return subprocess.run(
            [sys.executable, "-m", "stack", verb, "--state", str(self.folder), *ports, *options],
            cwd=ROOT,
            env=mine | {"PYTHONPATH": str(code)} | environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def start(self, *options: str, code: Path = ROOT / "src") -> str:
        done = self.call("start", *options, code=code)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def environment(self) -> dict[str, str]:
        """What a shell has that has sourced the stack's file."""
        found = {}
        for line in (self.folder / "env").read_text().splitlines():
            verb, *words = shlex.split(line)
            if verb == "export":
                name, _, value = words[0].partition("=")
                found[name] = value
        return found

    def secrets(self) -> list[str]:
        """The passwords that were made."""
        keys = (self.folder / "s3-keys").read_text()
        return [keys.strip().rpartition(" = ")[2], (self.folder / "pgpass").read_text().strip().rpartition(":")[2]]

    def processes(self) -> list[psutil.Process]:
        """All that belong to it, by what they work in or were called with."""
        found = []
        for one in psutil.process_iter():
            try:
                place = f"{one.cwd()} {' '.join(one.cmdline())} {one.environ().get('PGPASSFILE')}"
                if str(self.folder) in place and one.status() != psutil.STATUS_ZOMBIE:
                    found.append(one)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found


@contextlib.contextmanager
def new_stack() -> Iterator[Stack]:
    """An empty one, in a folder that PostgreSQL's user can enter where root runs the tests."""
    try:
        postgres.programs()
    except StackError as error:
        pytest.skip(str(error))
    folder = Path(tempfile.mkdtemp(prefix="unroll-stack-"))
    folder.chmod(0o755)
    stack = Stack(folder)
    try:
        yield stack
    finally:
        stopped = stack.call("stop")
        left = stack.processes()
        for one in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        shutil.rmtree(folder)
    assert stopped.returncode == 0, stopped.stderr
    assert left == []
