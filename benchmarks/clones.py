"""Clones of this repository in which a whole graph can be run from scratch, and nothing of the user's is touched."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import BenchmarkError
from unroll import paths

_STOP_SECONDS = 60
"""Given to a process to end all that it has started."""


class Clone:
    """A clone of the repository with the files as they stand here, committed or not, and nothing computed yet.

    It has a DVC cache, a run cache, an MLflow store and a Prefect database of its own, all of them empty.

    Args:
        folder: Where it is made.

    Raises:
        BenchmarkError: It cannot be made, or another place's code would run in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder.with_suffix(".log")
        here = Path.cwd()
        self._call(["git", "clone", "--quiet", str(here), str(folder)], here)
        for name in self._git_files(here):
            if (here / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(here / name, folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
        # The user's own data is ignored by git, and the graph reads it.
        shutil.copytree(here / paths.OWN, folder / paths.OWN, dirs_exist_ok=True)
        (folder / "dvc.lock").unlink(missing_ok=True)
        imported = Path(self.output([sys.executable, "-c", "import unroll; print(unroll.__file__)"]).strip())
        if not imported.is_relative_to(folder):
            raise BenchmarkError(f"in the clone {folder}, Python imports unroll from {imported}: nothing was measured")

    def seconds(self, command: list[str]) -> float:
        """Wall time of a command, its output kept in the log.

        Raises:
            BenchmarkError: It failed; the message ends with its last lines.
        """
        began = time.perf_counter()
        with self.log.open("ab") as log:
            # A session of its own: an interrupt comes from here alone, once, and reaches all that it has started.
            child = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = child.wait()
                took = time.perf_counter() - began
            finally:
                _stop(child)
        if code:
            last = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-30:]
            raise BenchmarkError("\n".join([f"{' '.join(command[1:])} ended with {code}:", *last]))
        return took

    def output(self, command: list[str]) -> str:
        """What a command prints.

        Raises:
            BenchmarkError: It failed.
        """
        return self._call(command, self.folder)

    def _git_files(self, here: Path) -> list[str]:
        """Files that differ from the commit, or are new."""
        listed = self._call(["git", "ls-files", "-z", "--modified", "--others", "--exclude-standard"], here)
        staged = self._call(["git", "diff", "-z", "--name-only", "--cached", "--no-renames"], here)
        return sorted({name for name in (listed + staged).split("\0") if name})

    def _call(self, command: list[str], folder: Path) -> str:
        done = subprocess.run(command, cwd=folder, env=self._environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchmarkError(f"{' '.join(command)} in {folder} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        theirs = ("PREFECT_", "MLFLOW_", "DVC_", "PYTHON", "GIT_")
        mine = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
        return mine | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            # Comes before the place where this repository is installed from.
            "PYTHONPATH": str(self.folder / "src"),
            # The targets are about cores, and stages share a GPU one after the other.
            "CUDA_VISIBLE_DEVICES": "",
            "DVC_NO_ANALYTICS": "1",
            # No cache folder that the user's settings name, and no state of DVC left behind.
            "DVC_GLOBAL_CONFIG_DIR": str(self.folder / ".dvc/tmp/global"),
            "DVC_SYSTEM_CONFIG_DIR": str(self.folder / ".dvc/tmp/system"),
            "DVC_SITE_CACHE_DIR": str(self.folder / ".dvc/tmp/site"),
        }


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
