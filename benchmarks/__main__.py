"""`python -m benchmarks [NAME …]`: measure, and print each result as a section for docs/benchmarks.md."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from benchmarks.figures import CORES, machine, section
from unroll.errors import UnrollError

BENCHMARKS = ("training", "together", "quantization", "scoring", "workers", "translation", "flow")
"""Modules, each with a function `measure` that returns a `Report`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named benchmarks, or all of them.

    Returns:
        Exit status: 0 if every target is met, 1 if one is not, 2 if something could not be measured.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BENCHMARKS)} (default: all of them)")
    names = parser.parse_args(arguments).names
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    # A `kill` must end what a benchmark has started, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    met = True
    try:
        for name in names or BENCHMARKS:
            print(f"{name}: measuring", flush=True)
            before = machine()
            report = import_module(f"benchmarks.{name}").measure()
            print(f"\n{section(report, before)}", flush=True)
            met = met and all(figure.met for figure in report.figures)
    except UnrollError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("benchmarks: interrupted", file=sys.stderr)
        return 130
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
