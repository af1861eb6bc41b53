"""`python -m benchmarks [NAME …] [--write]`: measures, prints a table a benchmark, keeps them in docs/benchmarks.md."""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks import flow, predict, scoring, training, translation
from benchmarks.figures import Report, section, table, with_sections
from benchmarks.machine import describe, keep_to_cores
from unroll.errors import UnrollError
from unroll.files import write_text

PAGE = Path("docs/benchmarks.md")
TITLES = {
    "training": training.TITLE,
    "predict": predict.TITLE,
    "scoring": scoring.TITLE,
    "text": translation.TITLE,
    "flow": flow.TITLE,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmarks that are named, or all of them.

    Returns:
        Exit status: 0 where every target is met, 1 where one is not, 2 where something could not be measured.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(TITLES)} (default: all of them)")
    parser.add_argument("--write", action="store_true", help=f"put the figures into {PAGE}")
    parser.add_argument("--rows", type=int, default=predict.ROWS, help="of `predict`, fewer for a trial")
    asked = parser.parse_args(arguments)
    if unknown := [name for name in asked.names if name not in TITLES]:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(TITLES)}")
    if asked.rows < 10:
        parser.error("--rows must be at least 10")
    if asked.write and asked.rows != predict.ROWS:
        parser.error(f"{PAGE} keeps figures of {predict.ROWS:,} rows: leave --rows or --write out")
    measures: dict[str, Callable[[], Report]] = {
        "training": training.measure,
        "predict": partial(predict.measure, asked.rows),
        "scoring": scoring.measure,
        "text": translation.measure,
        "flow": flow.measure,
    }
    # A `kill` must end what a benchmark has started, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    keep_to_cores()
    met = True
    try:
        for name in asked.names or measures:
            print(f"{name}: measuring", flush=True)
            machine = describe()
            report = measures[name]()
            print(f"\n{report.title}\n{table(report.figures)}\n{report.note}\nMeasured {machine}.\n", flush=True)
            met = met and all(figure.met for figure in report.figures)
            if asked.write:
                page = PAGE.read_text(encoding="utf-8")
                write_text(PAGE, with_sections(page, {report.title: section(report, machine)}, [*TITLES.values()]))
    except UnrollError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("benchmarks: interrupted", file=sys.stderr)
        return 130
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
