"""`unroll VERB …`: parse, call, report. The only place that catches an error to print it."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from unroll import __version__
from unroll.errors import UnrollError

STAGES = {
    "ingest": ("DATASET", "fetch a dataset's bytes and write them as typed Parquet"),
    "validate": ("DATASET", "hold a dataset to its expectations; writes a verdict and a page"),
    "featurize": ("TASK", "cut a dataset into sample tensors and splits"),
    "baseline": ("TASK", "predict a task's test rows the simple ways"),
    "train": ("EXPERIMENT", "train an experiment's networks; goes on where it was killed"),
    "evaluate": ("EXPERIMENT", "test figures beside baselines, and plots"),
    "export": ("EXPERIMENT", "write an experiment's ONNX bundle and check it against torch"),
}

EPILOG = """\
Names stand in params.yaml. `make run` (or `dvc repro`) runs every stage in its order; a stage by hand is for trying.

  unroll train mnist-lstm
  unroll predict --model models/mnist-bilstm --input data/raw/mnist/digits.parquet --output data/predictions
  unroll score

Exit codes: 0 done; 2 something is wrong with parameters, data or input, said in one line; 1 a fault of unroll itself.
"""


def parser() -> argparse.ArgumentParser:
    """The command line, as `unroll --help` shows it."""
    top = argparse.ArgumentParser(
        prog="unroll",
        description="Sequences from raw data to ONNX predictions, with recurrent networks.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"unroll {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, (argument, text) in STAGES.items():
        stage = verbs.add_parser(verb, help=text, description=text)
        stage.add_argument("name", metavar=argument)
    verbs.add_parser("compare", help="all experiments in one table: models/leaderboard.csv and .html")
    predict = verbs.add_parser("predict", help="score files with a bundle", description="Score files with a bundle.")
    predict.add_argument("--model", type=Path, required=True, help="models/EXPERIMENT, or a bundle's folder")
    predict.add_argument("--input", type=Path, required=True, help="a Parquet, CSV or IDX file, or a folder of them")
    predict.add_argument("--output", type=Path, required=True, help="folder for the Parquet files of predictions")
    predict.add_argument("--batch-rows", type=int, default=512, help="rows of one run of the graph (default: 512)")
    predict.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of onnxruntime (default: all cores)")
    verbs.add_parser("score", help="score what is new in data/inbox, each file exactly once")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; gives the exit code."""
    options = parser().parse_args(arguments)
    # A stage that is piped into a log must not hold its lines back.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        if options.verb == "predict":
            _predict(options)
        elif options.verb == "score":
            _score()
        else:
            # A stage's result must not depend on how many cores there are; training.threads is set where it counts.
            for library in ("OMP", "OPENBLAS", "MKL"):
                os.environ.setdefault(f"{library}_NUM_THREADS", "1")
            importlib.import_module(f"unroll.stages.{options.verb}").run(getattr(options, "name", ""))
    except UnrollError as error:
        print(f"unroll {options.verb}: {error}", file=sys.stderr)
        return 2
    return 0


def _predict(options: argparse.Namespace) -> None:
    from unroll.inference.scorer import predict

    done = predict(options.model, options.input, options.output, threads=options.threads, batch_rows=options.batch_rows)
    for file in done.files:
        print(f"{file.source}: {file.rows:,} rows in {file.output}")
        for skipped in file.skipped:
            print(f"{file.source}: skipped {skipped.what}: {skipped.reason}")
    speed = done.rows / done.seconds if done.seconds else 0.0
    print(f"{done.rows:,} rows scored with {done.model_version} in {done.seconds:.1f} s ({speed:,.0f} rows/s)")


def _score() -> None:
    from unroll import params
    from unroll.inference.inbox import score_new

    report = score_new(params.load_all().scoring)
    for line in report.lines():
        print(f"{line['file']}: {line['state']}: {line['what']}")
    done = len(report.already_done)
    print(f"{len(report.scored)} files scored with {report.model_version}, {done} were scored before")


if __name__ == "__main__":
    sys.exit(main())
