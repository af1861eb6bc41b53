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
        [sample, target]: mean absolute error of the seasonal naive forecast in training. series int32 [sample]; step
        int64 [sample], the first forecast step, counted from the start of its series; first_time and last_time int64
        [sample], seconds since 1970 of the first and last forecast step.

    Raises:
        DataError: A column is missing or too fine for float32, or the times are not regular.
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
    for column, values in zip(columns, np.concatenate([one.values for one in all_series]).T, strict=True):
        _require_fine(values, f"tasks.{name}: the column {column!r}")
    for number, one in enumerate(all_series):
        scale = seasonal_scale(one, len(section.targets), section.season, cuts[0].valid)
        piece, skipped = _windows(one, periods, section, number, scale)
        pieces.append(piece)
        left_out += skipped
    tensors = {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}
    if not len(tensors["inputs"]):
        steps = section.history + section.horizon
        gaps = f"; {left_out:,} windows contain a gap or an empty cell (`tasks.{name}.fill`)" if left_out else ""
        raise SplitError(f"tasks.{name}: no series has the {steps} steps that history and horizon need{gaps}")
    stride = section.splits.stride or section.horizon
    folds = tuple(_fold(tensors, cut, stride, len(cuts)) for cut in cuts)
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


def _require_fine(values: Floats, what: str) -> None:
    """Refuse numbers whose changes are lost in float32, in which networks compute.

    Raises:
        DataError: They are, as those of a meter that counts on for years.
    """
    values = values[~np.isnan(values)]
    changes = np.abs(np.diff(values))
    changes = changes[changes > 0]
    if len(changes) and np.spacing(np.float32(np.abs(values).max())) > 0.1 * np.median(changes):
        raise DataError(
            f"{what} has values up to {np.abs(values).max():.9g} whose changes of about {np.median(changes):.3g} are "
            "too small for float32; give the changes from row to row instead"
        )


def seasonal_scale(series: Regular, targets: int, season: int, until: np.datetime64) -> Floats:
    """Return the mean absolute change over a season before a time, float64 [target]; 0 where there is none."""
    past = np.where(series.real, series.values, np.nan)[series.times < until, :targets]
    scale: Floats = _mean_change(past[:, np.newaxis], season)[0]
    return scale


def _mean_change(windows: Floats, season: int) -> Floats:
    """Return the mean absolute change over a season, float64 [window, column]; 0 where there is none.

    Args:
        windows: float64 [step, window, column], NaN for no value.
        season: Steps.
    """
    changes = np.abs(windows[season:] - windows[:-season])
    known = ~np.isnan(changes)
    means: Floats = np.where(known, changes, 0).sum(0) / np.maximum(known.sum(0), 1)
    return means


def _windows(
    one: Regular, periods: Sequence[str], section: ForecastTask, number: int, scale: Floats
) -> tuple[Tensors, int]:
    """Return all windows of a series, and the number of those that are left out."""
    history, horizon, targets = section.history, section.horizon, len(section.targets)
    unknown = targets + len(section.inputs)
    count = max(0, len(one.values) - history - horizon + 1)
    steps = np.arange(count)[:, None] + np.arange(history + horizon)
    # Of the steps to come, targets and known columns have to be there. Filled values count neither as truth nor as the
    # last known one: on the line to a later value, they would tell it.
    whole, known, last, true = (
        np.asarray(mask.all(axis=1))
        for mask in (
            ~np.isnan(one.values),
            ~np.isnan(one.values[:, unknown:]),
            one.real[:, :unknown],
            one.real[:, :targets],
        )
    )
    past, later = steps[:, :history], steps[:, history:]
    usable = whole[past].all(1) & last[past[:, -1]] & known[later].all(1) & true[later].all(1)
    steps = steps[usable]
    values = np.concatenate([one.values, calendar(one.times, periods)], 1)
    inputs = values[steps].astype(np.float32)
    inputs[:, history:, :unknown] = 0
    # A series that is new, or that never changed in training, has the scale of its own window.
    own = _mean_change(one.values[steps[:, :history], :targets].swapaxes(0, 1), section.season)
    own = np.where(own > 0, own, np.maximum(np.abs(one.values[steps[:, :history], :targets]).mean(1), 1e-6))
    return {
        "inputs": inputs,
        "targets": one.values[steps[:, history:], :targets].astype(np.float32),
        "scale": np.where(scale > 0, scale, own).astype(np.float32),
        "series": np.full(len(steps), number, np.int32),
        "step": steps[:, history].astype(np.int64),
        "first_time": one.times[steps[:, history]].astype(np.int64),
        "last_time": one.times[steps[:, -1]].astype(np.int64),
    }, int((~usable).sum())


def _fold(tensors: Tensors, cut: _Cut, stride: int, folds: int) -> Fold:
    """Return the windows of a fold: their forecast steps are all in its split, and training ends before the test."""
    valid, test, end = (int(time.astype("datetime64[s]").astype(np.int64)) for time in (cut.valid, cut.test, cut.end))
    first, last, series = tensors["first_time"], tensors["last_time"], tensors["series"]
    # Each series is forecast from its own first step in the test on.
    begins = np.full(int(series.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(begins, series[first >= test], tensors["step"][first >= test])
    on_stride = (tensors["step"] - begins[series]) % stride == 0
    masks = (
        last < valid,
        (first >= valid) & (last < test),
        (first >= test) & (first < end) & on_stride,
    )
    name = "all" if folds == 1 else f"from {str(cut.test)[:10]}"
    return Fold(name, *(np.flatnonzero(mask).astype(np.int64) for mask in masks))
