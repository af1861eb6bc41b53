"""Figures of predictions whose truth is known; their names are those of the test figures.

The tasks' own metrics take outputs of networks and need torch to be imported; these take what stands in a file.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unroll.errors import DataError
from unroll.metrics.entities import entity_scores

if TYPE_CHECKING:
    import pandas as pd

Figures = dict[str, float]


def figures_of(kind: str, rows: "pd.DataFrame") -> Figures:
    """Quality of some predictions.

    Args:
        kind: Of the model's task.
        rows: row_id, prediction, truth, and what else the predictions of that kind have.

    Raises:
        DataError: A truth is not what such a model predicts, or nothing can be the truth of what it writes.
    """
    if kind not in _FIGURES:
        raise DataError(
            f"a {kind} model goes on with what it is given in one of many ways: no text is the truth; "
            f"a back-test is for {', '.join(_FIGURES)}"
        )
    return {**_FIGURES[kind](rows), "rows": float(len(rows))}


def _classes(rows: "pd.DataFrame") -> Figures:
    """Share of right classes, and the mean F1 of those that were predicted or true."""
    from sklearn.metrics import accuracy_score, f1_score

    true, said = (rows[name].astype(str).to_numpy() for name in ("truth", "prediction"))
    return {
        "accuracy": float(accuracy_score(true, said)),
        "macro_f1": float(f1_score(true, said, average="macro", zero_division=0)),
    }


def _prices(rows: "pd.DataFrame") -> Figures:
    """Errors in the price's unit; beside persistence, where the predicted return tells the last known price."""
    true, said, last = _floats(rows, "truth"), _floats(rows, "prediction"), _last_prices(rows)
    error, naive = said - true, last - true
    found = {"rmse": float(np.sqrt(np.mean(error**2))), "mae": float(np.mean(np.abs(error)))}
    base = np.mean(naive**2)
    if np.isfinite(base) and base > 0:
        found["ratio_to_persistence"] = float(np.sqrt(np.mean(error**2) / base))
    return found


def _last_prices(rows: "pd.DataFrame") -> NDArray[np.float64]:
    """The last known price of each row: a prediction is that price × e^score."""
    scores = rows["score"].astype(np.float64).to_numpy()
    prices: NDArray[np.float64] = _floats(rows, "prediction") / np.exp(scores)
    return prices


def _quantiles(rows: "pd.DataFrame") -> Figures:
    """Pinball loss of the log return; coverage of the interval from 10 % to 90 %, where it was predicted."""
    true = _floats(rows, "truth")
    if not (true > 0).all():
        row = int((true <= 0).argmax())
        raise DataError(f"row_id {rows['row_id'].iloc[row]}: the true price is {true[row]:g}, expected more than 0")
    returns = np.log(true / _last_prices(rows))
    names = [name for name in rows.columns if name.startswith("q") and name[1:].replace(".", "", 1).isdigit()]
    levels = np.array([float(name[1:]) / 100 for name in names])
    quantiles = rows[names].astype(np.float64).to_numpy()  # [row, level]
    error = returns[:, None] - quantiles
    found = {"pinball": float(np.maximum(levels * error, (levels - 1) * error).mean())}
    if {"q10", "q90"} <= set(names):
        low, high = quantiles[:, names.index("q10")], quantiles[:, names.index("q90")]
        found["coverage_80"] = float(((returns >= low) & (returns <= high)).mean())
    return found


def _labels(rows: "pd.DataFrame") -> tuple[list[list[str]], list[list[str]]]:
    """True and predicted labels of each row, as many of the one as of the other."""
    true, said = ([_words(value) for value in rows[name]] for name in ("truth", "prediction"))
    for row, ours, theirs in zip(rows["row_id"], said, true, strict=True):
        if len(ours) != len(theirs):
            raise DataError(f"row_id {row}: {len(theirs)} true labels, but {len(ours)} were predicted")
    return true, said


def _words(value: Any) -> list[str]:
    return value.split() if isinstance(value, str) else [str(one) for one in value]


def _columns(rows: "pd.DataFrame") -> Figures:
    true, said = _labels(rows)
    return {"frame_accuracy": _share(true, said)}


def _tags(rows: "pd.DataFrame") -> Figures:
    true, said = _labels(rows)
    total, _ = entity_scores(true, said)
    return {
        "entity_f1": total.f1,
        "entity_precision": total.precision,
        "entity_recall": total.recall,
        "token_accuracy": _share(true, said),
    }


def _share(true: list[list[str]], said: list[list[str]]) -> float:
    pairs = [ours == theirs for row in zip(true, said, strict=True) for ours, theirs in zip(*row, strict=True)]
    return float(np.mean(pairs))


def _translations(rows: "pd.DataFrame") -> Figures:
    from sacrebleu import BLEU, CHRF

    said, true = (rows[name].astype(str).tolist() for name in ("prediction", "truth"))
    return {"bleu": BLEU().corpus_score(said, [true]).score, "chrf": CHRF().corpus_score(said, [true]).score}


def _captions(rows: "pd.DataFrame") -> Figures:
    pairs = zip(rows["prediction"].astype(str), rows["truth"].astype(str), strict=True)
    return {"exact_match": float(np.mean([said.split() == true.split() for said, true in pairs]))}


def _floats(rows: "pd.DataFrame", name: str) -> NDArray[np.float64]:
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


_FIGURES: Mapping[str, Callable[["pd.DataFrame"], Figures]] = {
    "digits": _classes,
    "text_class": _classes,
    "recording_class": _classes,
    "price": _prices,
    "log_return": _prices,
    "return_quantiles": _quantiles,
    "strip_columns": _columns,
    "tags": _tags,
    "translation": _translations,
    "strip_captions": _captions,
}
"""By the kind of the task; the others write texts that have no one truth."""
