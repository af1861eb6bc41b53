"""Samples of series: windows of the past, and the steps after them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.domains.series.config import BacktestSplits, ForecastTask
from unroll.domains.series.table import Regular, by_series, regular
from unroll.domains.series.times import Times, calendar, frequency_of, periods_of
from unroll.errors import DataError, SplitError
from unroll.features.samples import Fold, Samples, Tensors, check_splits

Floats = NDArray[np.float64]


def make_samples(table: pa.Table, section: ForecastTask, name: str) -> Samples:
    """Return windows of all series.

    Args:
        table: Columns series, time and numbers, sorted by series and time.
        section: Parameters of the task.
        name: Name of the task, for error messages.

    Returns:
        inputs float32 [sample, history + horizon, column]: targets, inputs, known columns and calendar; what is not
        known in advance is 0 in the last `horizon` steps. targets float32 [sample, horizon, target]. scale float32
        [sample, target]: mean absolute error of the seasonal naive forecast in training. series int32 [sample] and
        first_time int64 [sample], seconds since 1970 of the first forecast step.

    Raises:
        DataError: A column is missing, or the times are not regular.
        SplitError: A split is empty.
    """
    columns = (*section.targets, *section.inputs, *section.known)
    for column in columns:
        if column not in table.column_names[2:]:
            raise DataError(
                f"tasks.{name} needs the column {column!r}; dataset {section.dataset} has "
                f"{', '.join(table.column_names[2:])}"
            )
    rows = by_series(table)
    frequency = frequency_of([one["time"].to_numpy().astype("datetime64[s]") for one in rows.values()])
    all_series = [regular(key, one, columns, frequency, section.fill) for key, one in rows.items()]
    times = np.unique(np.concatenate([one.times for one in all_series]))
    cuts = _cuts(times, section.splits)
    periods = periods_of(times[times < cuts[0].valid], frequency)
    pieces, left_out = [], 0
    for number, one in enumerate(all_series):
        scale = seasonal_scale(one, len(section.targets), section.season, cuts[0].valid)
        piece, skipped = _windows(one, periods, section, number, scale)
        pieces.append(piece)
        left_out += skipped
    tensors = {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}
    if not len(tensors["inputs"]):
        raise SplitError(
            f"tasks.{name}: no series has {section.history + section.horizon} steps without a gap or an empty cell, "
            "which history and horizon need; make them shorter, or set tasks.{name}.fill"
        )
    stride = section.splits.stride or section.horizon
    folds = tuple(_fold(tensors, times, cut, stride, len(cuts)) for cut in cuts)
    check_splits(folds, name, valid_wanted=section.splits.valid_share > 0)
    notes = {
        "columns": list(columns),
        "periods": list(periods),
        "step": [frequency.count, frequency.unit, frequency.month_end],
        **({"left_out": {"all": {"a gap or an empty cell": left_out}}} if left_out else {}),
    }
    return Samples(tensors, folds, notes=notes, shipped_fold=folds[-1].name)


@dataclass(frozen=True)
class _Cut:
    """Times at which a fold's validation and test begin, and its test ends."""

    valid: np.datetime64
    test: np.datetime64
    end: np.datetime64


def _cuts(times: Times, splits: BacktestSplits) -> list[_Cut]:
    first = round(len(times) * (1 - splits.test_share))
    edges = np.linspace(first, len(times), splits.refits + 1).round().astype(int)
    after = times[-1] + np.timedelta64(1, "s")
    found = []
    for begin, end in itertools.pairwise(edges.tolist()):
        valid = round(begin * (1 - splits.valid_share))
        found.append(_Cut(*(times[place] if place < len(times) else after for place in (valid, begin, end))))
    return found


def seasonal_scale(series: Regular, targets: int, season: int, until: np.datetime64) -> Floats:
    """Return the mean absolute change over a season before a time, float64 [target]; 1 where nothing changes."""
    past = series.values[series.times < until, :targets]
    with np.errstate(invalid="ignore"):
        changes = np.abs(past[season:] - past[:-season])
    known = ~np.isnan(changes)
    means = np.where(known, changes, 0).sum(0) / np.maximum(known.sum(0), 1)
    scale: Floats = np.where(means > 0, means, 1.0)
    return scale


def _windows(
    one: Regular, periods: Sequence[str], section: ForecastTask, number: int, scale: Floats
) -> tuple[Tensors, int]:
    """Return all windows of a series, and the number of those that are left out."""
    history, horizon = section.history, section.horizon
    unknown = len(section.targets) + len(section.inputs)
    count = max(0, len(one.values) - history - horizon + 1)
    steps = np.arange(count)[:, None] + np.arange(history + horizon)
    empty = np.isnan(one.values)
    # Of the steps to come, only targets and known columns have to be there.
    needed_later = np.ones(one.values.shape[1], bool)
    needed_later[len(section.targets) : unknown] = False
    before, later = (np.asarray(one.any(axis=1)) for one in (empty, empty[:, needed_later]))
    usable = ~(before[steps[:, :history]].any(1) | later[steps[:, history:]].any(1))
    steps = steps[usable]
    known_later = np.concatenate([one.values, calendar(one.times, periods)], 1)
    inputs = known_later[steps].astype(np.float32)
    inputs[:, history:, :unknown] = 0
    return {
        "inputs": inputs,
        "targets": one.values[steps[:, history:], : len(section.targets)].astype(np.float32),
        "scale": np.tile(scale.astype(np.float32), (len(steps), 1)),
        "series": np.full(len(steps), number, np.int32),
        "first_time": one.times[steps[:, history]].astype(np.int64),
        "last_time": one.times[steps[:, -1]].astype(np.int64),
    }, int((~usable).sum())


def _fold(tensors: Tensors, times: Times, cut: _Cut, stride: int, folds: int) -> Fold:
    """Return the windows of a fold: their forecast steps are all in its split, and training ends before the test."""
    valid, test, end = (int(time.astype("datetime64[s]").astype(np.int64)) for time in (cut.valid, cut.test, cut.end))
    first, last = tensors["first_time"], tensors["last_time"]
    steps = np.searchsorted(times.astype(np.int64), first) - np.searchsorted(times.astype(np.int64), test)
    masks = (
        last < valid,
        (first >= valid) & (last < test),
        (first >= test) & (first < end) & (steps % stride == 0),
    )
    name = "all" if folds == 1 else f"from {str(cut.test)[:10]}"
    return Fold(name, *(np.flatnonzero(mask).astype(np.int64) for mask in masks))
