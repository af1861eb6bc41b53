"""Figures of a model beside its baselines, all by the same code on the same rows."""

from collections.abc import Mapping
from typing import Any

from unroll.domains.task import Prediction, Task
from unroll.evaluation.statistics import diebold_mariano
from unroll.features.samples import Tensors


def evaluate(task: Task, prediction: Prediction, baselines: Mapping[str, Prediction], rows: Tensors) -> dict[str, Any]:
    """Test metrics, each baseline's, and the model against each baseline.

    Returns:
        `test`: the task's metrics; where it has periods, the first one's, and each under `periods`. `baseline`: the
        same for each baseline. `against`: for each baseline the skill (1 − mean loss / the baseline's) and the p-value
        of the Diebold–Mariano test on the losses of the rows.
    """
    return {
        "test": metrics(task, prediction, rows),
        "baseline": {name: metrics(task, other, rows) for name, other in baselines.items()},
        "against": {name: _against(task, prediction, other, rows) for name, other in baselines.items()},
    }


def metrics(task: Task, prediction: Prediction, rows: Tensors) -> dict[str, Any]:
    """The task's metrics, by period where it has them."""
    periods = task.periods(rows)
    if not periods:
        return task.metrics(prediction, rows)
    parts = {name: task.metrics(prediction[inside], _at(rows, inside)) for name, inside in periods.items()}
    return {**next(iter(parts.values())), "periods": parts}


def _against(task: Task, prediction: Prediction, other: Prediction, rows: Tensors) -> dict[str, Any]:
    ours, theirs = task.row_losses(prediction, rows), task.row_losses(other, rows)
    periods = task.periods(rows)
    if not periods:
        return _compare(ours, theirs)
    parts = {name: _compare(ours[inside], theirs[inside]) for name, inside in periods.items()}
    return {**next(iter(parts.values())), "periods": parts}


def _compare(ours: Any, theirs: Any) -> dict[str, Any]:
    skill = 1 - ours.mean() / theirs.mean() if theirs.mean() > 0 else None
    return {"skill": None if skill is None else float(skill), "p_value": diebold_mariano(ours, theirs)}


def _at(rows: Tensors, inside: Any) -> Tensors:
    return {name: tensor[inside] for name, tensor in rows.items()}
