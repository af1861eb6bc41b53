"""Samples of daily prices."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from unroll.domains.prices.config import LevelTask, LogReturnTask, QuantileTask
from unroll.errors import DataError
from unroll.features.samples import Samples, check_splits
from unroll.features.splits import check_periods, split_by_time
from unroll.features.windows import Series, windows


def make_samples(table: pa.Table, section: LevelTask | LogReturnTask | QuantileTask, name: str) -> Samples:
    """Return windows of daily prices, and the price after each of them.

    Args:
        table: Columns ticker, date, and those of the task; sorted by ticker and date.
        section: Parameters of the task.
        name: Name of the task, for error messages.

    Returns:
        The tensors of `windows`. For quantiles the targets are log returns (1 = 100 %), otherwise prices.

    Raises:
        DataError: A column has empty cells.
        SplitError: A ticker is shorter than a window, a split is empty, or test days would be trained on.
    """
    if isinstance(section, QuantileTask):
        columns, target, length = ["close"], "close", section.volatility_window + section.window + 1
    else:
        columns, target, length = [*section.columns], section.target, section.window
    every_step = isinstance(section, LevelTask) and section.every_step
    tensors = windows(_series(table, columns, target, name), length, every_step=every_step, task=name)
    if isinstance(section, QuantileTask):
        tensors["targets"] = np.log(tensors["targets"].astype(np.float64) / tensors["last"]).astype(np.float32)
    folds = split_by_time(tensors, section.splits)
    check_splits(folds, name, valid_wanted=section.splits.valid_share > 0)
    check_periods(tensors, section.splits, name)
    return Samples(tensors, folds, shipped_fold=folds[-1].name)


def known_column(target: str) -> str:
    """Return the column with the last known price: for the next opening price it is the last close."""
    return "close" if target == "open" else target


def _series(table: pa.Table, columns: Sequence[str], target: str, name: str) -> tuple[Series, ...]:
    known = known_column(target)
    for column in sorted({*columns, target, known}):
        empty = table[column].null_count
        if empty:
            raise DataError(
                f"tasks.{name} needs the column {column}, which is empty in {empty} of {table.num_rows} rows; "
                f"remove it from tasks.{name}.columns or use data that has it"
            )
    series = []
    for ticker in pc.unique(table["ticker"]).to_pylist():
        rows = table.filter(pc.equal(table["ticker"], ticker))
        values = np.stack([rows[column].to_numpy().astype(np.float64) for column in columns], axis=1)
        days = rows["date"].cast(pa.int32()).to_numpy()
        forecast, last = (rows[column].to_numpy().astype(np.float64) for column in (target, known))
        series.append(Series(ticker, days, values, forecast, last))
    return tuple(series)
