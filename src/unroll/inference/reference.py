"""The files of a bundle that rows are compared with.

`reference.json` holds distributions of the training rows and of predictions for some of them, in the columns of
`unroll.inference.profile`; `expectations.json` holds bounds of single rows in the same columns.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

REFERENCE = "reference.json"
EXPECTATIONS = "expectations.json"
Side = Literal["rows", "predictions"]
Counts = Mapping[Side, Mapping[str, list[int] | dict[str, int]]]
"""By side and column: a count for each cell of numbers, or for each category. They add up."""
_CELLS = 100
"""Cells of equal shares that training values are divided into, as far as they differ."""


class _Part(BaseModel):
    """A frozen model without unknown fields, conversions, NaN and infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class NumberColumn(_Part):
    """Distribution of numbers: counts of the values between edges.

    Cell 0 holds the values up to the first edge, cell i those above edge i − 1 and up to edge i, the last one those
    above the last edge. No training value is in the first or the last: they are for values beyond the training range.
    """

    kind: Literal["number"] = "number"
    edges: tuple[float, ...]
    counts: tuple[int, ...]


class CategoryColumn(_Part):
    """Distribution of categories: how often each was found."""

    kind: Literal["category"] = "category"
    counts: dict[str, int]


Column = Annotated[NumberColumn | CategoryColumn, Field(discriminator="kind")]


class Reference(_Part):
    """Distributions of the training rows, and of predictions for some of them."""

    format: Literal[1] = 1
    rows: dict[str, Column]
    predictions: dict[str, Column]


class Bounds(_Part):
    """Bounds of a number; None leaves a side open. Without any, the number only has to exist (not be NaN)."""

    min_value: float | None = None
    max_value: float | None = None
    strict_min: bool = False
    strict_max: bool = False

    def violated(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which values are out of bounds, bool [row]. NaN is a violation only where no bound is set."""
        low, high = self.min_value, self.max_value
        if low is None and high is None:
            return np.isnan(values)
        wrong = np.zeros(len(values), bool)
        if low is not None:
            wrong |= values <= low if self.strict_min else values < low
        if high is not None:
            wrong |= values >= high if self.strict_max else values > high
        return wrong

    def __str__(self) -> str:
        """Return the bounds in words: `more than 0 and at most 1`."""
        if self.min_value is not None and self.min_value == self.max_value:
            return f"exactly {self.min_value:.6g}"
        parts = []
        if self.min_value is not None:
            parts.append(f"{'more than' if self.strict_min else 'at least'} {self.min_value:.6g}")
        if self.max_value is not None:
            parts.append(f"{'less than' if self.strict_max else 'at most'} {self.max_value:.6g}")
        return " and ".join(parts) or "a number"


class Expectation(_Part):
    """What has to hold for a number of every row.

    Attributes:
        description: In words: `the image is not blank`.
        column: The number, a column of the profile.
        bounds: Its bounds.
    """

    description: Annotated[str, Field(min_length=1)]
    column: str
    bounds: Bounds = Bounds()


def count_numbers(values: NDArray[np.float64]) -> NumberColumn | None:
    """Return the distribution of numbers; None if none is finite.

    Example:
        1, 2, 2, 4 → edges just below 1, 1, 2, 4 and counts 0, 1, 2, 1, 0.
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    ordered = np.sort(values)
    # Edges are values of the data, found by integer ranks: np.quantile interpolates, and may miss them by rounding.
    ranks = -(-np.arange(_CELLS + 1) * len(ordered) // _CELLS) - 1
    steps = ordered[np.maximum(ranks, 0)]
    # The next number below 0 is subnormal, which is 0 in a process that flushes denormals.
    below = min(np.nextafter(ordered[0], -np.inf), ordered[0] - 2 * np.finfo(np.float64).tiny)
    edges = np.unique(np.concatenate([[below], steps]))
    return NumberColumn(edges=tuple(edges.tolist()), counts=tuple(cells(values, edges).tolist()))


def cells(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count the values in each cell, int64 [edge + 1]; NaN is in none."""
    return np.bincount(np.searchsorted(edges, values[~np.isnan(values)]), minlength=len(edges) + 1)


def count_categories(values: pa.Array) -> dict[str, int]:
    """Count each category, by its name or number as text; nulls are not counted."""
    counted = values.drop_null().value_counts()
    return {str(one["values"]): one["counts"].as_py() for one in counted}


def between(
    description: str,
    column: str,
    bounds: tuple[float | None, float | None],
    *,
    strict_min: bool = False,
    strict_max: bool = False,
) -> Expectation:
    """Return an expectation of a least and a greatest value; None leaves a side open."""
    both = Bounds(min_value=bounds[0], max_value=bounds[1], strict_min=strict_min, strict_max=strict_max)
    return Expectation(description=description, column=column, bounds=both)


def widened(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the range of values, extended by its width on both sides."""
    low, high = float(values.min()), float(values.max())
    return low - (high - low), high + (high - low)


def failures(columns: Mapping[str, NDArray[np.float64]], expectations: Sequence[Expectation]) -> dict[int, str]:
    """Return why rows fail expectations about the columns of a profile, float64 [row].

    The reason of a row: `the image is not blank: ink is 0, expected more than 0`; several are joined by semicolons.
    """
    found: dict[int, str] = {}
    for one in expectations:
        values = columns[one.column]
        for row in np.flatnonzero(one.bounds.violated(values)).tolist():
            reason = f"{one.description}: {one.column} is {values[row]:.6g}, expected {one.bounds}"
            found[row] = f"{found[row]}; {reason}" if row in found else reason
    return dict(sorted(found.items()))


class ReferenceCounter:
    """Counts scored rows and their predictions in the cells of a reference, which takes no more memory than a few rows.

    Args:
        reference: Reference of the bundle.
    """

    def __init__(self, reference: Reference) -> None:
        self._columns = columns_of(reference)
        self._edges = {key: np.array(one.edges) for key, one in self._columns.items() if isinstance(one, NumberColumn)}
        self._counts: dict[tuple[Side, str], NDArray[np.int64] | Counter[str]] = {
            key: np.zeros(len(one.counts), np.int64) if isinstance(one, NumberColumn) else Counter()
            for key, one in self._columns.items()
        }

    def add(self, side: Side, columns: Mapping[str, NDArray[np.float64] | pa.Array]) -> None:
        """Count the values of columns; those that the reference does not have are ignored."""
        for name, values in columns.items():
            counts = self._counts.get((side, name))
            if isinstance(counts, Counter):
                counts.update(count_categories(values))
            elif counts is not None:
                counts += cells(values, self._edges[side, name])

    def counts(self) -> Counts:
        """Return what was counted."""
        found: dict[Side, dict[str, list[int] | dict[str, int]]] = {"rows": {}, "predictions": {}}
        for (side, name), counts in self._counts.items():
            found[side][name] = dict(counts) if isinstance(counts, Counter) else counts.tolist()
        return found


def columns_of(reference: Reference) -> dict[tuple[Side, str], Column]:
    """Return the columns of a reference by side and name."""
    found: dict[tuple[Side, str], Column] = {("rows", name): one for name, one in reference.rows.items()}
    return found | {("predictions", name): one for name, one in reference.predictions.items()}
