"""Counts of scored rows and of their predictions in the cells of a bundle's reference; what drift is measured from."""

from collections import Counter
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.inference.reference import NumberColumn, Reference, cells, count_categories

Side = Literal["rows", "predictions"]
Counts = Mapping[Side, Mapping[str, list[int] | dict[str, int]]]
"""By side and column: a count for each cell of numbers, or for each category. They add up."""


class ReferenceCounter:
    """Counts values in the cells of a reference, so that any number of rows takes no more memory than a few.

    Args:
        reference: Of the bundle.
    """

    def __init__(self, reference: Reference) -> None:
        self._columns = {"rows": reference.rows, "predictions": reference.predictions}
        self._edges: dict[tuple[Side, str], NDArray[np.float64]] = {}
        self._counts: dict[tuple[Side, str], NDArray[np.int64] | Counter[str]] = {}
        sides: tuple[Side, ...] = ("rows", "predictions")
        for side in sides:
            for name, column in self._columns[side].items():
                if isinstance(column, NumberColumn):
                    self._edges[side, name] = np.array(column.edges)
                    self._counts[side, name] = np.zeros(len(column.counts), np.int64)
                else:
                    self._counts[side, name] = Counter()

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
