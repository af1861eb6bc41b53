"""`make run`: train everything that has changed.

It needs no server: without PREFECT_API_URL, Prefect starts one for the run, unless nothing has changed.
"""

import argparse
import importlib
import signal
import sys
from collections.abc import Sequence

from pipelines.graph import DvcError, read_plan
from unroll.errors import UNAVAILABLE_EXIT, ParameterError, ServiceUnavailable, UnrollError
from unroll.redaction import escape_what_the_terminal_lacks, redacted


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the training flow, unless nothing has changed.

    Returns:
        Exit status: 0; 1 where a stage or the gates failed; 2 where the graph or params.yaml cannot be read; 75 where
        only servers were unavailable; 130 after an interrupt.
    """
    escape_what_the_terminal_lacks()
    parser = argparse.ArgumentParser(prog="python -m pipelines.run", description=__doc__)
    parser.add_argument("--slots", type=int, help="stages at a time (default: cores / threads per training run)")
    parser.add_argument(
        "--only", nargs="*", metavar="EXPERIMENT", help="run what these experiments need (default: all)"
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="Dask scheduler whose workers run stages: tcp://HOST:8786"
    )
    options = parser.parse_args(arguments)
    if options.slots is not None and options.slots < 1:
        parser.error(f"--slots must be at least 1, not {options.slots}")
    # A closed terminal and `kill` stop the stages and Prefect's server as Ctrl-C does.
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        return _run(options.slots, options.only, options.scheduler)
    except KeyboardInterrupt:
        print("Interrupted. Finished stages are kept; run again to continue.", file=sys.stderr)
        return 130
    except UnrollError as error:
        print(f"error: {redacted(str(error))}", file=sys.stderr)
        if isinstance(error, ServiceUnavailable):
            return UNAVAILABLE_EXIT
        return 2 if isinstance(error, DvcError | ParameterError) else 1


def _run(slots: int | None, only: list[str] | None, scheduler: str | None) -> int:
    # Half a second of imports while DVC reads its graph.
    plan = read_plan(only, meanwhile=lambda: importlib.import_module("pipelines.summary"))
    from pipelines.summary import print_line, print_results, read_results
    from unroll.promotion.results import exported, unexamined
    from unroll.tracking import unsent

    if not plan.stale and not unexamined(only) and not unsent(only or exported()):
        print_results(read_results(only), complete=only is None)
        print_line(f"Nothing to do: all {len(plan.wanted)} stages are up to date.")
        return 0
    # Prefect takes two seconds to import.
    from pipelines.schedule import require_server

    require_server()
    from pipelines.training import default_slots, train

    count = f"{len(plan.stale)} of {len(plan.wanted)} stages to run"
    if scheduler:
        count += f" on the workers of {scheduler}"
    else:
        slots = slots or default_slots()
        count += f", {slots} at a time"
    print_line(f"{count}; Prefect starts, which takes a moment")
    # Only scheduled runs have a time limit.
    train.with_options(timeout_seconds=0)(slots=slots, only=only, plan=plan, scheduler=scheduler)
    return 0


if __name__ == "__main__":
    sys.exit(main())
