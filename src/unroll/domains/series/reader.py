"""Reader of the last steps of every series in a file."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from unroll.domains.series.config import SeriesReading
from unroll.domains.series.table import by_series, read_series, regular
from unroll.domains.series.times import Frequency, calendar
from unroll.errors import DataError
from unroll.inference.batches import with_reasons
from unroll.inference.bundle import Bundle
from unroll.inference.card import Card, SeriesInput, required
from unroll.inference.columns import FORECASTS
from unroll.inference.interface import InputReader, Interface, Numbers
from unroll.inference.reference import Expectation, between, widened
from unroll.sources.forms import Form
from unroll.sources.parquet import Chunk


def read_last_steps(path: Path, form: Form, bundle: Bundle, chunk: Chunk | None = None) -> Iterator[pa.RecordBatch]:
    """Read the last steps of every series.

    The forecast begins after the last row that has a target; rows below it hold what is known of the steps to come.

    Yields:
        A batch of row_id `SERIES@LASTTIME`, series, last_time, times list<timestamp[s]> (the steps that are forecast),
        inputs float32 [(history + horizon) * column], and reason string: why a series cannot be forecast.

    Raises:
        FormatError: As `read_series`; or the file lacks a column.
    """
    del form, chunk  # The steps of a series may stand anywhere, so a file is never divided.
    yield last_steps(path, required(bundle.card.series), bundle.card.file_settings)


def last_steps(path: Path, spec: SeriesInput, reading: SeriesReading) -> pa.RecordBatch:
    """Return the batch of `read_last_steps`."""
    columns = (*spec.targets, *spec.inputs, *spec.known)
    ranges = {name: bounds for name, bounds in reading.ranges.items() if name in columns}
    table, _ = read_series(path, reading.model_copy(update={"value_columns": columns, "ranges": ranges}))
    frequency = Frequency(*spec.step)
    width = len(columns) + 2 * len(spec.periods)
    names: list[str] = []
    lasts, times, inputs = [], [], []
    reasons: dict[int, str] = {}
    for name, rows in by_series(table).items():
        moment = rows["time"].to_numpy().astype("datetime64[s]")
        present = np.flatnonzero(rows[spec.targets[0]].is_valid().to_numpy())
        # A row without a target above others is a gap, not a step to come.
        last = moment[present[-1]] if len(present) else moment[-1]
        window = np.zeros((spec.history + spec.horizon, width))
        try:
            window = _window(name, rows, last, spec, frequency)
        except DataError as error:
            reasons[len(names)] = str(error)
        names.append(name)
        lasts.append(last)
        times.append(frequency.after(last, spec.horizon))
        inputs.append(window)
    batch = pa.record_batch(
        {
            "row_id": pa.array([f"{name}@{last}" for name, last in zip(names, lasts, strict=True)], pa.string()),
            "series": pa.array(names, pa.string()),
            "last_time": pa.array(np.array(lasts, "datetime64[s]")),
            "times": pa.array(list(np.array(times, "datetime64[s]")), pa.list_(pa.timestamp("s"))),
            "inputs": pa.FixedSizeListArray.from_arrays(
                pa.array(np.array(inputs, np.float32).reshape(-1)), (spec.history + spec.horizon) * width
            ),
        }
    )
    return with_reasons(batch, reasons)


def _window(name: str, rows: pa.Table, last: np.datetime64, spec: SeriesInput, frequency: Frequency) -> np.ndarray:
    """Return the input of a series, float64 [history + horizon, column].

    Raises:
        DataError: It cannot be forecast.
    """
    columns = (*spec.targets, *spec.inputs, *spec.known)
    unknown = len(spec.targets) + len(spec.inputs)
    one = regular(name, rows, columns, frequency, spec.fill)
    end = int(np.searchsorted(one.times, last)) + 1
    if end < spec.history:
        raise DataError(f"has {end} steps of {frequency}, the model needs {spec.history}")
    ahead = frequency.after(last, spec.horizon)
    window = np.zeros((spec.history + spec.horizon, len(columns)))
    window[: spec.history] = one.values[end - spec.history : end]
    later = one.values[end : end + spec.horizon, unknown:]
    window[spec.history :, unknown:] = np.nan
    window[spec.history : spec.history + len(later), unknown:] = later
    times = np.concatenate([one.times[end - spec.history : end], ahead])
    with np.errstate(over="ignore"):
        unusable = ~np.isfinite(window.astype(np.float32))
    if unusable.any():
        step, column = (int(place) for place in np.argwhere(unusable)[0])
        what = "no value" if np.isnan(window[step, column]) else f"{window[step, column]:g}"
        raise DataError(f"has {what} in {columns[column]} at {times[step]}")
    return np.concatenate([window, calendar(times, spec.periods)], 1)


def _profile(batch: pa.RecordBatch, card: Card) -> dict[str, Numbers]:
    spec = required(card.series)
    column = batch.column("inputs")
    values = column.flatten().to_numpy().astype(np.float64).reshape(len(batch), spec.history + spec.horizon, -1)
    past = values[:, : spec.history, 0]
    return {"mean": past.mean(1), "deviation": past.std(1), "least": past.min(1), "most": past.max(1)}


def _bounds(columns: Mapping[str, Numbers], card: Card) -> tuple[Expectation, ...]:
    target = required(card.series).targets[0]
    low, high = widened(np.concatenate([columns["least"], columns["most"]]))
    return (
        between(f"no value of {target} is far below those in training", "least", (low, None)),
        between(f"no value of {target} is far above those in training", "most", (None, high)),
    )


_READER = InputReader(
    "series",
    "series",
    ("parquet", "csv", "tsv", "txt"),
    read_last_steps,
    ("mean", "deviation", "least", "most"),
    _profile,
    _bounds,
    SeriesReading,
)
INTERFACES = {"forecast": Interface(("float32", (3,)), _READER, FORECASTS)}
