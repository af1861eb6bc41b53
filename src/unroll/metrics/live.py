"""Predictions from files beside the truth from files, as arrays that metrics take."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unroll.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Live = dict[str, float]
"""Metrics of live predictions, by name."""


def numbers_of(rows: "pd.DataFrame", name: str) -> NDArray[np.float64]:
    """Numbers of a column, which may be text.

    Raises:
        DataError: A value is no finite number.
    """
    import pandas as pd

    numbers = pd.to_numeric(rows[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    if not np.isfinite(numbers).all():
        row = int(np.isfinite(numbers).argmin())
        raise DataError(
            f"row_id {rows['row_id'].iloc[row]}: the {name} is {rows[name].iloc[row]!r}, expected a finite number"
        )
    return np.asarray(numbers, np.float64)


def label_lists(rows: "pd.DataFrame") -> tuple[list[list[str]], list[list[str]]]:
    """True and predicted labels of each row, as many of the one as of the other."""
    true, said = ([_split(value) for value in rows[name]] for name in ("truth", "prediction"))
    for row, ours, theirs in zip(rows["row_id"], said, true, strict=True):
        if len(ours) != len(theirs):
            raise DataError(f"row_id {row}: {len(theirs)} true labels, but {len(ours)} were predicted")
    return true, said


def _split(value: Any) -> list[str]:
    return value.split() if isinstance(value, str) else [str(one) for one in value]


def share_of_equal(true: list[list[str]], said: list[list[str]]) -> float:
    pairs = [ours == theirs for row in zip(true, said, strict=True) for ours, theirs in zip(*row, strict=True)]
    return float(np.mean(pairs))


def live_classes(rows: "pd.DataFrame") -> Live:
    """Share of right classes, and the mean F1 of those that were predicted or true."""
    from sklearn.metrics import accuracy_score, f1_score

    true, said = (rows[name].astype(str).to_numpy() for name in ("truth", "prediction"))
    return {
        "accuracy": float(accuracy_score(true, said)),
        "macro_f1": float(f1_score(true, said, average="macro", zero_division=0)),
    }
