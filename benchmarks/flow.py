"""The training flow beside plain `dvc repro` of the same part of the graph, each from scratch."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import yaml

from benchmarks.figures import BenchmarkError, Figure, Report, compare
from unroll import paths

SECOND_RUNS = 3
EXPERIMENTS = ("mnist-dense", "mnist-gru", "mnist-lstm", "stock-shift-rnn")
_FLOW = ["-m", "pipelines.run", "--only", *EXPERIMENTS]
_REPRO = ["-m", "dvc", "repro", *(f"export@{name}" for name in EXPERIMENTS)]


def measure() -> Report:
    """Run a part of the graph twice from scratch, in two clones of the repository.

    Raises:
        BenchmarkError: A run failed, or did not do what was to be measured.
    """
    with tempfile.TemporaryDirectory(prefix="unroll-bench-") as folder:
        ours, plain = _clone(Path(folder) / "flow"), _clone(Path(folder) / "plain")
        # The flow goes first: if anything, what it fetches is there for the reference already.
        flow, _ = _run(ours, _FLOW)
        second = [_run(ours, _REPRO) for _ in range(SECOND_RUNS)]
        if any("Running stage" in printed for _, printed in second):
            raise BenchmarkError("after the flow, `dvc repro` found something to do")
        repro, _ = _run(plain, _REPRO)
        first, other = (yaml.safe_load((clone / "dvc.lock").read_text()) for clone in (ours, plain))
    seconds = [took for took, _ in second]
    figures = (
        compare("flow to plain `dvc repro`", [flow], [repro], "s", target=0.65, at_least=False),
        Figure("`dvc repro` with nothing to do", median(seconds), None, None, "s", 3, False, SECOND_RUNS),
    )
    note = (
        f"What {', '.join(EXPERIMENTS)} need, in two clones of the repository with empty caches; both fetch the data. "
        "Ours: `python -m pipelines.run --only`, with the start of Prefect's server. Reference: `dvc repro` of the "
        f"same exports. The results in dvc.lock are {'the same' if first == other else 'DIFFERENT'}."
    )
    return Report("Training flow", figures, note)


def _clone(folder: Path) -> Path:
    """Clone what is committed, with the user's own data, which the graph reads; nothing is computed there yet."""
    subprocess.run(["git", "clone", "--quiet", str(Path.cwd()), str(folder)], check=True)  # noqa: S607 -- PATH's git
    shutil.copytree(paths.OWN, folder / paths.OWN, dirs_exist_ok=True)
    (folder / "dvc.lock").unlink(missing_ok=True)
    _, imported = _run(folder, ["-c", "import unroll; print(unroll.__file__)"])
    if not Path(imported.strip()).is_relative_to(folder):
        raise BenchmarkError(f"in the clone {folder}, Python imports unroll from {imported}: nothing was measured")
    return folder


def _run(clone: Path, arguments: list[str]) -> tuple[float, str]:
    """Return the seconds and the output of a Python process in a clone, with caches and databases of its own."""
    print(f"flow: python {' '.join(arguments)} in {clone}", flush=True)
    theirs = ("PREFECT_", "MLFLOW_", "DVC_", "PYTHON", "GIT_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(theirs)} | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        # Comes before the place where this repository is installed from.
        "PYTHONPATH": str(clone / "src"),
        # The targets are about cores, and stages share a GPU one after the other.
        "CUDA_VISIBLE_DEVICES": "",
        "DVC_NO_ANALYTICS": "1",
        # No cache folder that the user's settings name, and no state of DVC left behind.
        "DVC_GLOBAL_CONFIG_DIR": str(clone / ".dvc/tmp/global"),
        "DVC_SYSTEM_CONFIG_DIR": str(clone / ".dvc/tmp/system"),
        "DVC_SITE_CACHE_DIR": str(clone / ".dvc/tmp/site"),
    }
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], cwd=clone, env=environment, capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - began
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise BenchmarkError(f"python {' '.join(arguments)} ended with {done.returncode}:\n{last}")
    return took, done.stdout
