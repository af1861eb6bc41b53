"""Metrics of predictions whose truth came later, from tables with the columns row_id, prediction and truth."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unroll.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Live = dict[str, float]
"""Metrics of live predictions, by name."""


def finite_numbers(rows: "pd.DataFrame", name: str) -> NDArray[np.float64]:
    """Return a column of numbers, which may be text.

    Raises:
        DataError: A value is not a finite number.
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
    """Return the true and the predicted labels of each row.

    Raises:
        DataError: A row has more labels of one than of the other.
    """
    true, predicted = ([_split(value) for value in rows[name]] for name in ("truth", "prediction"))
    for row, ours, theirs in zip(rows["row_id"], predicted, true, strict=True):
        if len(ours) != len(theirs):
            raise DataError(f"row_id {row}: {len(theirs)} true labels, but {len(ours)} were predicted")
    return true, predicted


def _split(value: Any) -> list[str]:
    return value.split() if isinstance(value, str) else [str(label) for label in value]


def label_accuracy(true: list[list[str]], predicted: list[list[str]]) -> float:
    """Return the share of right labels, over the labels of all rows."""
    pairs = [one == other for rows in zip(true, predicted, strict=True) for one, other in zip(*rows, strict=True)]
    return float(np.mean(pairs))


def class_metrics(rows: "pd.DataFrame") -> Live:
    """Return accuracy and macro-F1; a class counts if it was predicted or true."""
    from sklearn.metrics import accuracy_score, f1_score

    true, predicted = (rows[name].astype(str).to_numpy() for name in ("truth", "prediction"))
    return {
        "accuracy": float(accuracy_score(true, predicted)),
        "macro_f1": float(f1_score(true, predicted, average="macro", zero_division=0)),
    }
