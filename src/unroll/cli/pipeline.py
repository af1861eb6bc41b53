"""Commands of the training pipeline: one for each stage of `dvc.yaml`."""

import argparse
import ctypes
import importlib
import os
import sys
from collections.abc import Callable

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Options of glibc's mallopt."""
STAGES = {
    "ingest": ("DATASET", "fetch a dataset and write it as typed Parquet"),
    "validate": ("DATASET", "check a dataset against its expectations; writes a verdict and a page"),
    "featurize": ("TASK", "cut a dataset into sample tensors and splits"),
    "baseline": ("TASK", "predict a task's test rows with its baselines"),
    "train": ("EXPERIMENT", "train an experiment's networks, from their last checkpoint if there is one"),
    "evaluate": ("EXPERIMENT", "compute test metrics beside the baselines', and draw plots"),
    "export": ("EXPERIMENT", "write an experiment's ONNX bundle and compare its outputs with torch's"),
    "compare": ("", "write the leaderboard of all experiments: models/leaderboard.csv and .html"),
}
"""Stage -> (what its argument names, what it does)."""

_WITHOUT_PANDAS = ("featurize", "baseline", "train", "evaluate", "export")


def _configure(argument: str) -> Callable[[argparse.ArgumentParser], None]:
    def configure(command: argparse.ArgumentParser) -> None:
        command.set_defaults(run=_run_stage, name="")
        if argument:
            command.add_argument("name", metavar=argument)

    return configure


def _run_stage(options: argparse.Namespace) -> None:
    # A stage's result must not depend on the number of cores; training.threads is set where it counts.
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    if options.command in ("train", "evaluate", "export"):
        _keep_freed_memory()
    if options.command in _WITHOUT_PANDAS:
        _keep_pandas_out()
    importlib.import_module(f"unroll.stages.{options.command}").run(options.name)


def _keep_pandas_out() -> None:
    """Let pyarrow look for pandas where there is none: its first conversion would import it, for half a second."""
    import pyarrow as pa

    folders = sys.path[:]
    sys.path.clear()
    pa.array([0])
    sys.path += folders


def _keep_freed_memory() -> None:
    """Let glibc keep large blocks: otherwise each step maps its largest tensors again, and the kernel clears them."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


COMMANDS = {name: (summary, _configure(argument)) for name, (argument, summary) in STAGES.items()}
