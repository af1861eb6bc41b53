"""From a task's raw table to its samples."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from unroll import config
from unroll.domains.pairs.samples import translation_samples
from unroll.domains.recordings.samples import recording_samples
from unroll.domains.strips.samples import strip_caption_samples, strip_column_samples
from unroll.domains.tagged.samples import tag_samples
from unroll.domains.texts.samples import language_samples, text_class_samples
from unroll.domains.tunes.samples import melody_samples
from unroll.errors import DataError, SplitError
from unroll.features.samples import Fold, Samples, check_splits
from unroll.features.splits import check_periods, split_by_time
from unroll.features.windows import Series, windows

TABLES: Mapping[str, str] = {
    "digits": "digits",
    "price": "prices",
    "log_return": "prices",
    "return_quantiles": "prices",
    "text_class": "texts",
    "translation": "pairs",
    "language_model": "articles",
    "melody": "melodies",
    "recording_class": "recordings",
    "strip_columns": "digits",
    "strip_captions": "digits",
    "tags": "tagged",
}
"""Kind of a task → kind of dataset that it is made from."""


def build_samples(table: pa.Table, task: config.Task, name: str) -> Samples:
    """Samples of a task of any kind.

    Args:
        table: Of the dataset, as `TABLES` has its kind.
        task: Its parameters.
        name: Its name, for error messages.

    Raises:
        DataError: The table does not serve the task; the message names rows.
    """
    match task:
        case config.DigitTask():
            return digit_samples(table, task, name)
        case config.TextClassTask():
            return text_class_samples(table, task, name)
        case config.TranslationTask():
            return translation_samples(table, task, name)
        case config.LanguageTask():
            return language_samples(table, task, name)
        case config.MelodyTask():
            return melody_samples(table, task, name)
        case config.RecordingTask():
            return recording_samples(table, task, name)
        case config.StripColumnsTask():
            return strip_column_samples(table, task, name)
        case config.StripCaptionTask():
            return strip_caption_samples(table, task, name)
        case config.TagTask():
            return tag_samples(table, task, name)
        case _:
            return price_samples(table, task, name)


def digit_samples(table: pa.Table, task: config.DigitTask, name: str) -> Samples:
    """Images and labels, in file order.

    Args:
        table: Columns split, label, pixels (uint8 [784]).
        task: Its parameters.
        name: Its name, for error messages.

    Returns:
        inputs uint8 [sample, 28, 28] and targets int64 [sample].
    """
    pixels = table["pixels"].combine_chunks()
    inputs = pixels.flatten().to_numpy(zero_copy_only=False).reshape(-1, 28, 28)
    targets = table["label"].to_numpy().astype(np.int64)
    split = table["split"].to_numpy()
    train, test = np.flatnonzero(split == "train"), np.flatnonzero(split == "test")
    if task.valid_rows >= len(train):
        raise SplitError(
            f"tasks.{name}.valid_rows is {task.valid_rows}, but the training split has {len(train)} rows: "
            "nothing would be left to train on"
        )
    folds = (Fold("all", train[: -task.valid_rows], train[-task.valid_rows :], test),)
    check_splits(folds, name)
    return Samples({"inputs": inputs, "targets": targets}, folds)


def price_samples(
    table: pa.Table, task: config.PriceTask | config.LogReturnTask | config.ReturnQuantileTask, name: str
) -> Samples:
    """Windows of daily prices, and what follows each of them.

    Args:
        table: Columns ticker, date, and the task's; sorted by ticker and date.
        task: Its parameters.
        name: Its name, for error messages.

    Returns:
        What `windows` gives. For quantiles the targets are log returns (1 = 100 %), else prices.
    """
    if isinstance(task, config.ReturnQuantileTask):
        columns, target, length = ["close"], "close", task.volatility_window + task.window + 1
    else:
        columns, target, length = [*task.columns], task.target, task.window
    every_step = isinstance(task, config.PriceTask) and task.every_step
    tensors = windows(_series(table, columns, target, name), length, every_step=every_step, task=name)
    if isinstance(task, config.ReturnQuantileTask):
        tensors["targets"] = np.log(tensors["targets"].astype(np.float64) / tensors["last"]).astype(np.float32)
    folds = split_by_time(tensors, task.splits)
    check_splits(folds, name, valid_wanted=task.splits.valid_share > 0)
    check_periods(tensors, task.splits, name)
    return Samples(tensors, folds)


def known_column(target: str) -> str:
    """The column whose last value is the nearest known price: for an opening price, the close before it."""
    return "close" if target == "open" else target


def _series(table: pa.Table, columns: Sequence[str], target: str, name: str) -> tuple[Series, ...]:
    known = known_column(target)
    for column in sorted({*columns, target, known}):
        empty = table[column].null_count
        if empty:
            raise DataError(
                f"tasks.{name} needs the column {column}, which is empty in {empty} of {table.num_rows} rows; "
                f"leave it out of tasks.{name}.columns or bring data that has it"
            )
    found = []
    for ticker in pc.unique(table["ticker"]).to_pylist():
        rows = table.filter(pc.equal(table["ticker"], ticker))
        values = np.stack([rows[column].to_numpy().astype(np.float64) for column in columns], axis=1)
        days = rows["date"].cast(pa.int32()).to_numpy()
        forecast, nearest = (rows[column].to_numpy().astype(np.float64) for column in (target, known))
        found.append(Series(ticker, days, values, forecast, nearest))
    return tuple(found)
