"""Commands that use a bundle on this machine: files of rows, or one text."""

import argparse
import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unroll.redaction import printable

if TYPE_CHECKING:
    from unroll.config.decoding import DecodingConfig

PREDICT = """\
Score files with a bundle: each becomes FOLDER/STEM.parquet with row_id, prediction, score and model_version.

What a file holds depends on the model:
  digits               images: a column `pixels` (Parquet), a column for each pixel (CSV, TSV), IDX, or npz
  prices               one row per day: date and the columns that the model reads (Parquet, CSV, TSV)
  text                 a column `text`; for translations `source`, for prompts `prompt`, for tags `tokens`
                       (Parquet, CSV, TSV, JSONL, JSON), or plain text with one row per line (.txt)
  recordings           sound (wav, flac, ogg), where the model was trained on sound; or a column of lists: `samples`, or
                       else `frames` (Parquet)
  strips               a column of lists of numbers: `pixels` (Parquet)
Text files and IDX may be gzipped or alone in a zip archive; a folder of Parquet parts or of sound files is read as one
file. Ids are read from `row_id` (for texts and images, also `id`), or rows are numbered from 0; the id of a sound file
is its name.
Rows that cannot be scored (empty texts, missing pixels) go to FOLDER/STEM.quarantine.parquet, with the reason.
"""
# Not read from DecodingConfig: pydantic takes longer to import than all else that --help needs.
DECODING = {
    "beams": (int, "hypotheses of the beam search (1 is greedy decoding), or sequences to sample"),
    "length_penalty": (float, "rank hypotheses by log probability / length ^ N"),
    "max_length": (int, "write at most N tokens"),
    "temperature": (float, "0 searches for the likeliest text; above 0, tokens are sampled: below 1 the likely ones"),
    "top_k": (int, "sample from the N likeliest tokens (0: from all)"),
    "seed": (int, "seed of the sampling"),
    "n_best": (int, "texts to return for each row"),
}
"""Number and help of each option that sets a field of DecodingConfig."""


def _configure_predict(command: argparse.ArgumentParser) -> None:
    command.description = PREDICT
    command.set_defaults(run=_predict)
    command.add_argument("--model", type=Path, required=True, help="models/EXPERIMENT, or the folder of a bundle")
    command.add_argument("--input", type=Path, required=True, help="a file, or a folder of files")
    command.add_argument("--output", type=Path, required=True, help="folder for the Parquet files of predictions")
    command.add_argument("--batch-rows", type=int, default=512, help="rows per call of the graph (default: 512)")
    command.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads to use (default: all cores)")
    command.add_argument("--memory-mb", type=int, default=768, help="memory limit of scoring, in MiB (default: 768)")
    command.add_argument(
        "--set",
        dest="settings",
        type=_setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="read files with this setting in place of the card's, as in header=false or separator=';' (repeatable)",
    )
    _add_decoding(command)


def _configure_translate(command: argparse.ArgumentParser) -> None:
    _add_model(command, "models/translate-lstm-attention")
    command.add_argument("text", metavar="TEXT")
    _add_decoding(command)


def _configure_generate(command: argparse.ArgumentParser) -> None:
    _add_model(command, "models/words-lstm")
    command.add_argument("--prompt", dest="text", metavar="TEXT", default="", help="the beginning (default: none)")
    _add_decoding(command)


def _configure_classify(command: argparse.ArgumentParser) -> None:
    _add_model(command, "models/reviews-bilstm")
    command.add_argument("text", metavar="TEXT")


def _add_model(command: argparse.ArgumentParser, default: str) -> None:
    command.set_defaults(run=_use_on_text)
    command.add_argument("--model", type=Path, default=Path(default), help=f"models/EXPERIMENT (default: {default})")


def _add_decoding(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("models that write text", "The defaults are in the bundle's card.")
    for name, (number, text) in DECODING.items():
        names = [f"--{name.replace('_', '-')}", *(["-n"] if name == "n_best" else [])]
        group.add_argument(*names, dest=name, type=number, metavar="N", help=text)


def _setting(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, found {text!r}")
    with contextlib.suppress(ValueError):
        return name, json.loads(value)
    if name == "column_names":
        return name, value.split(",")
    return name, value.replace("\\t", "\t")


def _decoding(options: argparse.Namespace) -> "DecodingConfig":
    from unroll.config.decoding import DecodingConfig

    return DecodingConfig.from_options(vars(options))


def _predict(options: argparse.Namespace) -> None:
    from unroll.inference.predict import predict

    start = time.perf_counter()
    files = predict(
        options.model,
        options.input,
        options.output,
        threads=options.threads,
        batch_rows=options.batch_rows,
        memory_mb=options.memory_mb,
        decoding=_decoding(options),
        settings=dict(options.settings),
    )
    for file in files:
        for note in (f"{file.rows_scored:,} rows in {file.output}", *file.notes()):
            print(printable(f"{file.source}: {note}"))
    rows, seconds = sum(file.rows_scored for file in files), time.perf_counter() - start
    print(f"{rows:,} rows scored with {files[0].model_version} in {seconds:.1f} s ({rows / seconds:,.0f} rows/s)")


def _use_on_text(options: argparse.Namespace) -> None:
    from unroll.inference.quick_predict import use_on_text

    result = use_on_text(options.model, options.command, options.text, _decoding(options))
    for text, score in result.predictions:
        print(f"{score:9.4f}  {text}")
    for note in result.notes:
        print(f"unroll {options.command}: {note}", file=sys.stderr)


COMMANDS = {
    "predict": ("score files with a bundle", _configure_predict),
    "translate": ("translate one sentence", _configure_translate),
    "generate": ("continue a text, or write one", _configure_generate),
    "classify": ("classify one text, with the probability of every class", _configure_classify),
}
