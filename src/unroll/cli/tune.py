"""The command that searches for better settings of an experiment."""

import argparse
import importlib
import os

from unroll.errors import ParameterError

DESCRIPTION = """\
Search for better settings of an experiment: `tune` in its row of params.yaml says which, and how many to try. Settings
are compared on the validation split; at the end the best and the present ones are trained with fresh seeds and compared
on the test split. The results are written to models/EXPERIMENT/tuning/ and to MLflow.

A search may be stopped or killed; --resume goes on, each training from its last checkpoint.
"""


def _configure(command: argparse.ArgumentParser) -> None:
    command.description = DESCRIPTION
    command.set_defaults(run=_tune)
    command.add_argument("name", metavar="EXPERIMENT")
    command.add_argument("--jobs", type=int, default=1, metavar="N", help="trainings at the same time (default: 1)")
    command.add_argument("--resume", action="store_true", help="go on with the study, if there is one")
    command.add_argument("--apply", action="store_true", help="write the best settings into params.yaml")
    command.add_argument(
        "--storage",
        default="",
        metavar="URL",
        help="database that several machines share: postgresql://USER@HOST/DATABASE, the password in PGPASSWORD "
        "(default: a file in .unroll/tuning)",
    )


def _tune(options: argparse.Namespace) -> None:
    if options.jobs < 1:
        raise ParameterError(f"--jobs is {options.jobs}; it has to be at least 1")
    # For the processes that train, as in the stage `train`: training.threads counts, and freed memory is kept.
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    os.environ.setdefault("MALLOC_MMAP_MAX_", "0")
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**31 - 1))
    try:
        # By name, as stages are: the command line itself imports no torch.
        module = importlib.import_module("unroll.tuning.tune")
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise ParameterError('Optuna is not installed: pip install -c constraints.txt -e ".[tune]"') from None
    how = module.Options(options.jobs, options.resume, options.storage, options.apply)
    module.tune(options.name, how, report=lambda line: print(line, flush=True))


COMMANDS = {"tune": ("search for better settings of an experiment", _configure)}
