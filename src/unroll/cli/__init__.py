"""The command line, `unroll COMMAND …`: parse, call, report. The only place that catches errors to print them."""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import unroll
from unroll import __version__
from unroll.cli import operate, pipeline, tune, use
from unroll.errors import UNAVAILABLE_EXIT, ServiceUnavailable, UnrollError
from unroll.redaction import escape_what_the_terminal_lacks, printable, redacted

Commands = Mapping[str, tuple[str, Callable[[argparse.ArgumentParser], None]]]
"""Name -> (summary, function that adds the options and `run`)."""
GROUPS: Mapping[str, Commands] = {
    "pipeline, one stage at a time": pipeline.COMMANDS,
    "choose settings": tune.COMMANDS,
    "use a model": use.COMMANDS,
    "operate": operate.COMMANDS,
}
DESCRIPTION = "Sequences from raw data to ONNX predictions, with recurrent networks."
EPILOG = """\
DATASET, TASK and EXPERIMENT are names in params.yaml. `make run` (or `dvc repro`) runs all stages in order.

  unroll train mnist-lstm
  unroll predict --model models/mnist-bilstm --input data/raw/mnist/digits.parquet --output data/predictions
  unroll translate "How are you?" --n-best 3
  unroll score

Exit codes: 0 success; 1 a bug in unroll, with its traceback; 2 wrong parameters, data or input, explained in one line;
75 a server is not available, so that the same command may succeed later.
"""


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """Build the parser of `unroll`; of the commands, only `command` gets its options, which may need imports."""
    listing = [DESCRIPTION]
    for title, group in GROUPS.items():
        listing += ["", f"{title}:", *(f"  {name:<11} {summary}" for name, (summary, _) in group.items())]
    parser = argparse.ArgumentParser(
        prog="unroll",
        usage="unroll COMMAND …",
        description="\n".join(listing),
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"unroll {__version__}")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, prog="unroll", help=argparse.SUPPRESS
    )
    for group in GROUPS.values():
        for name, (summary, configure) in group.items():
            one = commands.add_parser(
                name,
                description=f"{summary[0].upper()}{summary[1:]}.",
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            if name == command:
                configure(one)
    return parser


def _run_code_of_this_tree() -> None:
    """Start again with `src/` of the working directory, if unroll was imported from elsewhere.

    An installation in place belongs to one tree. Git worktrees, other clones and `dvc exp run --temp` have code of
    their own, which is what DVC hashes there.
    """
    own, path = Path("src/unroll/__init__.py"), os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if not own.is_file() or own.samefile(unroll.__file__):
        return
    source = str(own.parents[1].resolve())
    if source in path:
        there = Path(unroll.__file__).parent
        sys.exit(f"unroll: Python imports {there}, although PYTHONPATH has {source}; run `pip install -e .` here")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([source, *filter(None, path)])}
    command = [sys.executable, "-m", "unroll.cli", *sys.argv[1:]]
    os.execve(command[0], command, environment)  # noqa: S606 -- this Python


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    escape_what_the_terminal_lacks()
    if arguments is None:
        _run_code_of_this_tree()
        arguments = sys.argv[1:]
    parser = build_parser(next((one for one in arguments if not one.startswith("-")), ""))
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except UnrollError as error:
        print(f"unroll {options.command}: {printable(redacted(str(error)))}", file=sys.stderr)
        return UNAVAILABLE_EXIT if isinstance(error, ServiceUnavailable) else 2
    except Exception:
        print(redacted(traceback.format_exc()), end="", file=sys.stderr)
        return 1
    return 0
