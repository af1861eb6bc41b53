"""Reads files of series, for training and for scoring."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from unroll.domains.series.config import SeriesReading
from unroll.domains.series.times import Frequency, Times, parse_time, to_times
from unroll.errors import DataError, FormatError
from unroll.sources.forms import form_of, table_name
from unroll.sources.layouts import read_table
from unroll.sources.parquet import read_parquet

TIMES = ("time", "date", "datetime", "timestamp", "ds", "date_time")
SERIES = ("series_id", "unique_id", "series")
_EMPTY = ("", "nan", "na", "n/a", "null", "none", "-", "<na>")
Floats = NDArray[np.float64]


def read_series(path: Path, reading: SeriesReading) -> tuple[pa.Table, dict[str, int]]:
    """Read a file of series.

    Args:
        path: CSV or TSV, gzipped or not, or Parquet.
        reading: What decides where a file is ambiguous.

    Returns:
        A table of series string (the file's name where no column names it), time timestamp[s], and the columns of
        numbers, float64 with null for an empty cell; sorted by series and time. And the number of values of each column
        that are out of its range, which became empty cells.

    Raises:
        FormatError: It is not plain which column has the times, or a time or number cannot be read.
    """
    if form_of(path) == "parquet":
        table = read_parquet(path)
        titles, places = table.column_names, list(range(1, len(table) + 1))
        columns: list[Any] = table.columns
        unit = "row"
    else:
        titles, rows = read_table(path, reading, (*TIMES, *SERIES))
        places = [line for line, _ in rows]
        columns = [pa.array([cells[place].strip() for _, cells in rows], pa.string()) for place in range(len(titles))]
        unit = "line"
    at = [f"{path}, {unit} {place:,}" for place in places]
    time = _column(titles, reading.time_column, TIMES, path, "time_column")
    if time is None:
        raise FormatError(
            f"{path}: no column is called {', '.join(TIMES)}; found {', '.join(titles)[:200]}; set `time_column`"
        )
    series = _column(titles, reading.series_column, SERIES, path, "series_column")
    wanted = reading.value_columns or tuple(
        title for place, title in enumerate(titles) if place not in (time, series) and title
    )
    if missing := [title for title in (*wanted, *reading.ranges) if titles.count(title) != 1]:
        raise FormatError(f"{path} needs one column {missing[0]!r}; found {', '.join(titles)[:200]}")
    if reserved := sorted({"series", "time"} & {*wanted}):
        raise FormatError(f"{path}: a column of numbers cannot be called {reserved[0]!r}; give it another name")
    named = pa.repeat(table_name(path), len(at)) if series is None else _names(columns[series], at)
    found = {"series": named, "time": pa.array(_times(columns[time], reading, at), pa.timestamp("s"))}
    beyond: dict[str, int] = {}
    for title in wanted:
        found[title] = _numbers(columns[titles.index(title)], title, at)
        if title in reading.ranges:
            least, most = reading.ranges[title]
            inside = pc.and_(pc.greater_equal(found[title], least), pc.less_equal(found[title], most))
            beyond[title] = pc.sum(pc.invert(inside)).as_py() or 0
            found[title] = pc.if_else(inside, found[title], None)
    table = pa.table(found).sort_by([("series", "ascending"), ("time", "ascending")])
    _refuse_repeated(table, path)
    return table, {title: count for title, count in beyond.items() if count}


def _column(titles: list[str], given: str | None, known: tuple[str, ...], path: Path, setting: str) -> int | None:
    found = [place for place, title in enumerate(titles) if (title == given if given else title.lower() in known)]
    if given and not found:
        raise FormatError(f"{path} has no column {given!r}, which `{setting}` names; found {', '.join(titles)[:200]}")
    if len(found) > 1:
        several = ", ".join(titles[place] for place in found)
        raise FormatError(f"{path} has the columns {several}; set `{setting}` to the right one")
    return found[0] if found else None


def _names(column: Any, at: list[str]) -> pa.Array:
    texts = column.cast(pa.string()).to_pylist()
    for place, text in zip(at, texts, strict=True):
        if text is None or not text.strip():
            raise FormatError(f"{place}: the name of the series is empty")
    return pa.array([text.strip() for text in texts])


def _times(column: Any, reading: SeriesReading, at: list[str]) -> Times:
    kind = column.type
    if pa.types.is_timestamp(kind):
        if kind.tz:
            # As times in UTC: where clocks change, an hour would be there twice.
            column = column.cast(pa.timestamp(kind.unit))
        column = _whole_seconds(column, at)
    elif pa.types.is_date(kind):
        column = column.cast(pa.timestamp("s"))
    elif not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise FormatError(f"{at[0].rsplit(',', 1)[0]}: the times are {kind}, expected timestamps, dates or texts")
    found = []
    for place, value in zip(at, column.to_pylist(), strict=True):
        try:
            found.append(parse_time(value, reading.date_format) if isinstance(value, str) else value)
        except ValueError:
            expected = reading.date_format or (
                "whole seconds in ISO 8601, such as 2024-05-31 18:00; other forms need `date_format`"
            )
            raise FormatError(f"{place}: the time is {value!r}, expected {expected}") from None
        if value is None:
            raise FormatError(f"{place}: the time is empty")
    return to_times(found)


def _whole_seconds(column: Any, at: list[str]) -> Any:
    seconds = column.cast(pa.timestamp("s"), safe=False)
    cut = pc.fill_null(pc.not_equal(seconds.cast(column.type), column), False).to_numpy(zero_copy_only=False)
    if cut.any():
        place = int(cut.argmax())
        raise FormatError(f"{at[place]}: the time is {column[place]}, expected whole seconds")
    return seconds


def _numbers(column: Any, title: str, at: list[str]) -> pa.Array:
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        try:
            numbers = column.cast(pa.float64())
        except pa.ArrowException:
            raise FormatError(
                f"{at[0].rsplit(',', 1)[0]}: the column {title!r} is {column.type}, expected numbers; name those of "
                "numbers in `value_columns`"
            ) from None
        return pc.if_else(pc.is_nan(numbers), None, numbers)
    found: list[float | None] = []
    for place, text in zip(at, column.to_pylist(), strict=True):
        if text is None or text.strip().lower() in _EMPTY:
            found.append(None)
            continue
        try:
            found.append(_number(text))
        except ValueError:
            raise FormatError(
                f"{place}: {title} is {text[:40]!r}, expected a number with a decimal point; if it is not a column of "
                "numbers, name those that are in `value_columns`"
            ) from None
    return pa.array(found, pa.float64())


def _number(text: str) -> float:
    number = float(text)
    if "_" in text or not np.isfinite(number):
        raise ValueError(text)
    return number


def _refuse_repeated(table: pa.Table, path: Path) -> None:
    series, times = table["series"].to_numpy(), table["time"].to_numpy()
    repeated = (series[1:] == series[:-1]) & (times[1:] == times[:-1])
    if repeated.any():
        row = int(repeated.argmax())
        raise FormatError(
            f"{path} has two rows of {series[row]} at {times[row]}; where several series are in one file, set "
            "`series_column`; where clocks change, times need an offset such as +02:00"
        )


@dataclass(frozen=True)
class Regular:
    """A series on its grid of times.

    Attributes:
        name: Name of the series.
        times: Times of the steps, datetime64[s] [step].
        values: Numbers, float64 [step, column], NaN where there is none.
        real: Which of them stand in the file, and are not filled, bool [step, column].
    """

    name: str
    times: Times
    values: Floats
    real: NDArray[np.bool_]


def by_series(table: pa.Table) -> dict[str, pa.Table]:
    """Return the rows of each series, by name, of a table that is sorted by them."""
    names = table["series"].to_numpy(zero_copy_only=False)
    starts = np.flatnonzero(np.concatenate([[True], names[1:] != names[:-1]])) if len(names) else np.array([], int)
    ends = np.append(starts[1:], len(names))
    return {names[start]: table.slice(start, end - start) for start, end in zip(starts, ends, strict=True)}


def steps_of(name: str, rows: pa.Table, frequency: Frequency) -> NDArray[np.int64]:
    """Return the number of steps from the first row of a series to each, int64 [row].

    Raises:
        DataError: A time is not a whole number of steps after the first, or almost all steps lack a row.
    """
    times = rows["time"].to_numpy().astype("datetime64[s]")
    steps = frequency.index(times)
    if (steps < 0).any():
        raise DataError(
            f"series {name}: the time {times[int((steps < 0).argmax())]} is not a whole number of steps ({frequency}) "
            f"after {times[0]}; all series of a dataset need one step"
        )
    if steps[-1] > 1000 + 100 * len(steps):
        raise DataError(
            f"series {name} has {len(steps):,} rows for {steps[-1] + 1:,} steps ({frequency}) from {times[0]} to "
            f"{times[-1]}; is one of its times wrong?"
        )
    return steps


def regular(name: str, rows: pa.Table, columns: tuple[str, ...], frequency: Frequency, fill: str) -> Regular:
    """Put the rows of a series on a grid without gaps.

    Raises:
        DataError: As `steps_of`.
    """
    index = steps_of(name, rows, frequency)
    values = np.full((int(index[-1]) + 1, len(columns)), np.nan)
    for place, column in enumerate(columns):
        values[index, place] = rows[column].to_numpy(zero_copy_only=False).astype(np.float64)
    real = ~np.isnan(values)
    if fill != "none":
        values = np.stack([_filled(one, fill) for one in values.T], 1)
    first = rows["time"].to_numpy().astype("datetime64[s]")[:1]
    grid = np.concatenate([first, frequency.after(first[0], len(values) - 1)])
    return Regular(name, grid, values, real)


def _filled(values: Floats, fill: str) -> Floats:
    """Fill what lies between known values; what comes before the first or after the last stays empty."""
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        return values
    at = np.arange(len(values))
    if fill == "linear":
        filled = np.interp(at, known, values[known])
    else:
        filled = values[known[np.maximum(np.searchsorted(known, at, side="right") - 1, 0)]]
    return np.where((at < known[0]) | (at > known[-1]), np.nan, filled)
