"""Whether what is scored now still looks like what the model was trained on.

Values are counted in the cells of the model's reference while files are scored. A column has two measures: PSI, which
sums over parts of the training data how much their share has changed, and the Kolmogorov–Smirnov statistic, the largest
gap between the two distribution functions.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unroll.inference.bundle import Bundle
from unroll.inference.reference import Column, Counts, NumberColumn, Side, columns_of

Tally = NDArray[np.int64] | Counter[str]
"""Counts of cells, or of categories."""
PARTS = 10
"""Number of parts with equal training shares that PSI sums over, if the values differ enough."""
_HALF = 0.5
"""Added to each count, so that a part that is empty on one side has a logarithm. Source: Jeffreys' prior."""


class Part(NamedTuple):
    """One part of a column's values, and its share in training and now."""

    name: str
    training: float
    now: float


@dataclass(frozen=True)
class ColumnDrift:
    """How far a column is from training.

    Attributes:
        side: Whether the column belongs to the rows that go in, or to the predictions.
        name: Name of the column.
        values: Number of values; a row of labels in time has several.
        psi: Population stability index.
        ks: Kolmogorov–Smirnov statistic; None for categories, which have no order.
        exceeded: The limits that are exceeded: `psi`, `ks`. Empty if too few rows were scored.
        parts: What PSI sums over.
        steps: For numbers, (value, training share up to it, share up to it now).
    """

    side: Side
    name: str
    values: int
    psi: float
    ks: float | None
    exceeded: tuple[str, ...]
    parts: tuple[Part, ...]
    steps: tuple[tuple[float, float, float], ...] = ()

    def measures(self, names: Sequence[str]) -> str:
        """Return some measures as text: `PSI 0.41, KS 0.31`."""
        return ", ".join(f"{name.upper()} {getattr(self, name):.2f}" for name in names)


@dataclass(frozen=True)
class DriftReport:
    """Rows and predictions of a job compared with those of training.

    Attributes:
        model_version: `NAME@SHA12`.
        rows: Number of rows that were scored.
        min_rows: With fewer rows there is no verdict.
        psi_limit: Limit of a column's PSI.
        ks_limit: Limit of a column's Kolmogorov–Smirnov statistic.
        columns: Columns of the rows, then columns of the predictions.
    """

    model_version: str
    rows: int
    min_rows: int
    psi_limit: float
    ks_limit: float
    columns: tuple[ColumnDrift, ...]

    @property
    def enough(self) -> bool:
        """Whether there are enough rows for a verdict."""
        return self.rows >= self.min_rows

    @property
    def drifted(self) -> tuple[ColumnDrift, ...]:
        """Columns that exceed a limit."""
        return tuple(one for one in self.columns if one.exceeded)

    def verdict(self) -> str:
        """Return one line: `drift in ink (PSI 0.41), score (KS 0.31)`."""
        if not self.enough:
            return f"too few rows for a drift verdict: {self.rows:,} of at least {self.min_rows:,}"
        if not self.drifted:
            return f"no drift: {len(self.columns)} columns of {self.rows:,} rows are within their limits"
        return "drift in " + ", ".join(f"{one.name} ({one.measures(one.exceeded)})" for one in self.drifted)

    def table(self) -> list[dict[str, str]]:
        """Return one row per column, for an artifact or a page."""
        within = "within the limits" if self.enough else "too few rows"
        return [
            {
                "column": one.name,
                "of": one.side,
                "values": f"{one.values:,}",
                "PSI": f"{one.psi:.3f}",
                "KS": "" if one.ks is None else f"{one.ks:.3f}",
                "verdict": f"above the limit: {one.measures(one.exceeded)}" if one.exceeded else within,
            }
            for one in self.columns
        ]

    def metrics(self) -> dict[str, float]:
        """Return numbers for MLflow: `drift.ink.psi`, `drift.ink.ks`, …, `drift.exceeded` columns and `drift.rows`."""
        found: dict[str, float] = {"drift.rows": self.rows, "drift.exceeded": len(self.drifted)}
        for one in self.columns:
            found[f"drift.{one.name}.psi"] = one.psi
            if one.ks is not None:
                found[f"drift.{one.name}.ks"] = one.ks
        return found


class DriftMonitor:
    """Adds up the counts of the files of a job.

    Args:
        bundle: Bundle whose reference the counts are compared with.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.rows = 0
        self._version = bundle.version
        self._columns = columns_of(bundle.reference) if bundle.reference else {}
        self._tallies: dict[tuple[Side, str], Tally] = {}

    def add(self, rows: int, counts: Counts) -> None:
        """Add a file's scored rows, and what was counted of them."""
        self.rows += rows
        for side, columns in counts.items():
            for name, found in columns.items():
                new: Any = Counter(found) if isinstance(found, dict) else np.array(found, np.int64)
                self._tallies[side, name] = new + self._tallies[side, name] if (side, name) in self._tallies else new

    def report(self, *, psi_limit: float, ks_limit: float, min_rows: int) -> DriftReport | None:
        """Compare what was counted with training; None if the bundle has no reference, no verdict for too few rows."""
        if not self._columns:
            return None
        limits = {"psi": psi_limit, "ks": ks_limit} if self.rows >= min_rows else {}
        columns = [
            _compare(key, column, self._tallies[key], limits)
            for key, column in self._columns.items()
            if key in self._tallies and _total(self._tallies[key])
        ]
        return DriftReport(self._version, self.rows, min_rows, psi_limit, ks_limit, tuple(columns))


def _compare(key: tuple[Side, str], column: Column, counts: Any, limits: Mapping[str, float]) -> ColumnDrift:
    gap: float | None = None
    steps: tuple[tuple[float, float, float], ...] = ()
    if isinstance(column, NumberColumn):
        training = np.array(column.counts)
        places = parts_of(training)
        kept = np.unique(places[(training > 0) | (counts > 0)])
        names = [_range_name(column, np.flatnonzero(places == place)) for place in kept]
        sums = [np.bincount(places, one, PARTS)[kept].astype(np.int64) for one in (training, counts)]
        gap = ks(training, counts)
        shares_up_to = [(np.cumsum(one)[:-1] / one.sum()).tolist() for one in (training, counts)]
        steps = tuple(zip(column.edges, *shares_up_to, strict=True))
    else:
        names = sorted({*column.counts, *counts}, key=lambda one: (len(one), one) if one.isdigit() else (1 << 20, one))
        sums = [np.array([one.get(name, 0) for name in names]) for one in (column.counts, counts)]
    measures = {"psi": psi(*sums)} | ({} if gap is None else {"ks": gap})
    return ColumnDrift(
        *key,
        values=_total(counts),
        psi=measures["psi"],
        ks=gap,
        exceeded=tuple(name for name, value in measures.items() if name in limits and value >= limits[name]),
        parts=tuple(map(Part, names, *((one / one.sum()).tolist() for one in sums))),
        steps=steps,
    )


def _total(counts: Tally) -> int:
    return counts.total() if isinstance(counts, Counter) else int(counts.sum())


def _range_name(column: NumberColumn, inside: NDArray[np.int64]) -> str:
    """Return the range of a part's values: `≤ 3`, `3 – 4.5`, `> 9`."""
    # The first edge is just below the least training value, which is the second.
    low = column.edges[max(inside[0] - 1, 1)] if inside[0] > 0 and len(column.edges) > 1 else None
    high = column.edges[inside[-1]] if inside[-1] < len(column.edges) else None
    if low is None:
        return f"≤ {high:.4g}"
    if high is None:
        return f"> {low:.4g}"
    if low == high:
        return f"{high:.4g}"
    # Enough digits to distinguish the two.
    digits = next((digits for digits in range(4, 10) if f"{low:.{digits}g}" != f"{high:.{digits}g}"), 17)
    return f"{low:.{digits}g} – {high:.{digits}g}"


def psi(training: NDArray[np.int64], now: NDArray[np.int64]) -> float:
    """Return the population stability index of two counts of the same parts; 0 if the shares are equal.

    Parts that are empty on both sides are left out; half a row is added to all others on both sides.

    Example:
        [50, 50] and [20, 80]: shares 50.5/101, 50.5/101 and 20.5/101, 80.5/101 →
        (0.203 − 0.5) · ln(0.203 / 0.5) + (0.797 − 0.5) · ln(0.797 / 0.5) = 0.406.

    Source: Siddiqi 2006, Credit Risk Scorecards.
    """
    there = (training > 0) | (now > 0)
    before, after = training[there] + _HALF, now[there] + _HALF
    before, after = before / before.sum(), after / after.sum()
    return float(((after - before) * np.log(after / before)).sum())


def ks(training: NDArray[np.int64], now: NDArray[np.int64]) -> float:
    """Return the Kolmogorov–Smirnov statistic of two counts of the same ascending cells: 0 (equal) to 1 (disjoint).

    Both distribution functions are known exactly at the edges of the grid; between them the gap may be larger by at
    most a cell's share.
    """
    return float(np.abs(np.cumsum(training) / training.sum() - np.cumsum(now) / now.sum()).max())


def parts_of(training: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the part of ten, 0 to 9, that each cell of a grid belongs to, by the training share below its middle.

    Where values repeat, a part may have more than a tenth, and others nothing. Cells beyond the training range belong
    to the outer parts. Example: counts 0, 50, 50, 0 → 0, 2, 7, 9.
    """
    shares = training / training.sum()
    middles = np.cumsum(shares) - shares / 2
    # The last digits of sums of shares are noise.
    places: NDArray[np.int64] = np.minimum((middles * PARTS + 1e-9).astype(np.int64), PARTS - 1)
    return places
