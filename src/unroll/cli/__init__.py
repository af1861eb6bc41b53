"""`unroll VERB …`: parse, call, report. The only place that catches an error to print it."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unroll import __version__
from unroll.cli import models as promotion
from unroll.errors import PASSING_EXIT, UnrollError, is_passing
from unroll.redaction import printable

if TYPE_CHECKING:
    from unroll import config
    from unroll.config.decoding import DecodingConfig
    from unroll.scoring.job import Model, Tell
    from unroll.scoring.report import JobReport

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
  unroll translate "How are you?" --n-best 3

Exit codes: 0 done; 2 something is wrong with parameters, data or input, said in one line; 75 the same where a server
was away, so that another try may succeed; 1 a fault of unroll itself.
"""

PREDICT = """\
Score files with a bundle: each becomes FOLDER/STEM.parquet with row_id, prediction, score and model_version.

What a file holds depends on the model:
  digits               784 values a row: a column `pixels` (Parquet), 784 columns (CSV), or images (IDX)
  prices               a row a day: date and the columns that the model reads (Parquet, CSV)
  text                 a column `text`; of translations `source`, of prompts `prompt`, of tags `tokens`
                       (Parquet, CSV, TSV, JSONL), or plain text of one row a line (.txt)
  recordings, strips   a column of lists of numbers: `frames` or `pixels` (Parquet)
Text files and IDX may be gzipped. Ids are taken from `row_id` (of texts, also `id`), or rows are numbered from 0.
Rows that cannot be scored (empty texts, missing pixels) go to FOLDER/STEM.quarantine.parquet, with the reason.
"""
SCORE = """\
Score what is new in an inbox, each file exactly once: every row ends up in the output or, with a reason, in quarantine.

What is not given stands in params.yaml under `scoring`. Places are folders, or addresses such as s3://bucket/inbox;
keys of object stores come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL), and
UNROLL_LEDGER_URL may name a PostgreSQL database for the ledger.
"""
SCORE_OPTIONS = {
    "model": "models:/NAME@ALIAS, models:/NAME/VERSION, or a bundle's folder",
    "input": "the inbox; its files stay where they are",
    "output": "gets scored_on=DATE/STEM-SHA8.parquet for each file",
    "quarantine": "gets rows and files that cannot be scored, with reasons",
}
TRUTH = """\
Hold predictions against the truth, joined on row_id (and on file, where the truth has it): live quality beside that of
the test split, logged to MLflow's experiment `live`. Rows that cannot be joined are counted and named.
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
    predict = verbs.add_parser(
        "predict",
        help="score files with a bundle",
        description=PREDICT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    predict.add_argument("--model", type=Path, required=True, help="models/EXPERIMENT, or a bundle's folder")
    predict.add_argument("--input", type=Path, required=True, help="a file, or a folder of files")
    predict.add_argument("--output", type=Path, required=True, help="folder for the Parquet files of predictions")
    predict.add_argument("--batch-rows", type=int, default=512, help="rows of one run of the graph (default: 512)")
    predict.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of onnxruntime (default: all cores)")
    _add_decoding(predict)
    score = verbs.add_parser(
        "score",
        help="score what is new in an inbox, each file exactly once",
        description=SCORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, text in SCORE_OPTIONS.items():
        score.add_argument(f"--{name}", metavar="ADDRESS", help=text)
    back = verbs.add_parser("score-truth", help="hold predictions against what turned out true", description=TRUTH)
    back.add_argument("predictions", metavar="PREDICTIONS", type=Path, help="a file that unroll wrote, or a folder")
    back.add_argument("truth", metavar="TRUTH", type=Path, help="Parquet or CSV with row_id, or a folder of such")
    back.add_argument("--column", metavar="NAME", help="what is true (default: truth, or the only other column)")
    back.add_argument("--model", metavar="ADDRESS", help="of predictions that do not tell: a bundle, or models:/…")
    translate = _add_try(verbs, "translate", "translate one sentence", "models/translate-gru-attention")
    translate.add_argument("text", metavar="TEXT")
    _add_decoding(translate)
    generate = _add_try(verbs, "generate", "go on with a text, or with a tune's music tokens", "models/words-lstm")
    generate.add_argument("--prompt", metavar="TEXT", default="", help="the beginning (default: none)")
    _add_decoding(generate)
    classify = _add_try(verbs, "classify", "class of one text, with all probabilities", "models/reviews-bilstm")
    classify.add_argument("text", metavar="TEXT")
    promotion.add_verbs(verbs)
    return top


def _add_try(verbs: Any, verb: str, text: str, model: str) -> argparse.ArgumentParser:
    one: argparse.ArgumentParser = verbs.add_parser(verb, help=text, description=f"{text.capitalize()}.")
    one.add_argument("--model", type=Path, default=Path(model), help=f"models/EXPERIMENT (default: {model})")
    return one


def _add_decoding(verb: argparse.ArgumentParser) -> None:
    """Add an option for each field of `DecodingConfig`."""
    from unroll.config.decoding import DecodingConfig

    group = verb.add_argument_group("models that write", "What is not given is taken from the bundle's card.")
    for name, field in DecodingConfig.model_fields.items():
        number = float if field.annotation is float else int
        names = [f"--{name.replace('_', '-')}", *(["-n"] if name == "n_best" else [])]
        group.add_argument(*names, dest=name, type=number, metavar="N", help=field.description)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; gives the exit code."""
    options = parser().parse_args(arguments)
    # A stage that is piped into a log must not hold its lines back.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        if options.verb == "predict":
            _predict(options)
        elif options.verb == "score":
            _score(options)
        elif options.verb == "score-truth":
            _score_truth(options)
        elif options.verb in ("translate", "generate", "classify"):
            _try(options)
        elif options.verb in ("models", "lineage"):
            promotion.run(options)
        else:
            # A stage's result must not depend on how many cores there are; training.threads is set where it counts.
            for library in ("OMP", "OPENBLAS", "MKL"):
                os.environ.setdefault(f"{library}_NUM_THREADS", "1")
            importlib.import_module(f"unroll.stages.{options.verb}").run(getattr(options, "name", ""))
    except UnrollError as error:
        print(f"unroll {options.verb}: {printable(str(error))}", file=sys.stderr)
        return PASSING_EXIT if is_passing(error) else 2
    return 0


def _predict(options: argparse.Namespace) -> None:
    from unroll.inference.predict import predict

    done = predict(
        options.model,
        options.input,
        options.output,
        threads=options.threads,
        batch_rows=options.batch_rows,
        decoding=_decoding(options),
    )
    for file in done.files:
        print(printable(f"{file.source}: {file.rows:,} rows in {file.output}"))
        for note in file.notes():
            print(printable(f"{file.source}: {note}"))
    speed = done.rows / done.seconds if done.seconds else 0.0
    print(f"{done.rows:,} rows scored with {done.model_version} in {done.seconds:.1f} s ({speed:,.0f} rows/s)")


def _decoding(options: argparse.Namespace) -> "DecodingConfig":
    from unroll.config.decoding import DecodingConfig

    return DecodingConfig.from_options(vars(options))


def _try(options: argparse.Namespace) -> None:
    from unroll.inference import quick_predict as tries

    if options.verb == "classify":
        tried = tries.classify(options.model, options.text)
    elif options.verb == "translate":
        tried = tries.translate(options.model, options.text, _decoding(options))
    else:
        tried = tries.generate(options.model, options.prompt, _decoding(options))
    for text, score in tried.answers:
        print(f"{score:9.4f}  {text}")
    if tried.kind == "melody":
        from unroll.domains.tunes.notation import notes_to_abc

        for text, _ in tried.answers:
            print(f"\n{notes_to_abc(text.split())}", end="")
    for note in tried.notes:
        print(f"unroll {options.verb}: {note}", file=sys.stderr)


def _score(options: argparse.Namespace) -> None:
    from unroll import config

    given = {name: getattr(options, name) for name in SCORE_OPTIONS if getattr(options, name) is not None}
    scoring = config.load_all().scoring.model_copy(update=given)
    report = score_new(scoring, lambda file: print("{file}: {state}: {what}".format(**file.line())), _show)
    _show(report)
    report.require_no_failure()


def _show(report: "JobReport") -> None:
    print(report.summary())
    if report.drift and report.drift.rows:
        from unroll.scoring.drift_page import write_page

        print(f"{report.drift.verdict()}; see {write_page(report.drift)}")


def _score_truth(options: argparse.Namespace) -> None:
    from unroll.inference.bundle import load_bundle
    from unroll.scoring.backtest import score_truth

    card = load_bundle(model_of(options.model).folder).card if options.model else None
    report = score_truth(options.predictions, options.truth, column=options.column, card=card)
    for line in report.lines():
        print(line)
    from unroll.tracking.live import EXPERIMENT, log_live

    for one in report.live:
        log_live(
            f"truth {one.version}",
            one.version,
            one.metrics(),
            registered=one.model.registered,
            tags={"unroll.live": "truth", "unroll.task": one.model.task},
        )
    print(f"logged to MLflow's experiment {EXPERIMENT}")


def score_new(scoring: "config.Scoring", tell: "Tell", stopped: Callable[["JobReport"], None]) -> "JobReport":
    """Scores what is new in the inbox, as `unroll score` and the flow do; raises what `score_inbox` raises.

    Args:
        scoring: Model, places, and how.
        tell: Is called with each file as it is done.
        stopped: Is called with what was done so far where the job does not come to its end.
    """
    from unroll.scoring.checks import checks_of
    from unroll.scoring.job import score_inbox

    ledger_url = os.environ.get("UNROLL_LEDGER_URL")
    return score_inbox(scoring, resolve=model_of, ledger_url=ledger_url, check=checks_of, tell=tell, stopped=stopped)


def model_of(address: str) -> "Model":
    """The model of a folder, or of an address in MLflow's registry, which alone needs MLflow.

    Raises:
        TrackingError: The registry does not have it, or cannot be used.
    """
    from unroll.scoring.job import Model, a_folder

    if not address.startswith("models:/"):
        return a_folder(address)
    from unroll.tracking import registry

    found = registry.resolve(address)
    return Model(found.folder, {"name": found.name, "version": found.version, "run_id": found.run_id})


if __name__ == "__main__":
    sys.exit(main())
