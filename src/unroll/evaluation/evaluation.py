"""Metrics of a model beside those of its baselines, computed by the same code on the same rows."""

from collections.abc import Mapping
from typing import Any

from unroll.domains.task import Prediction, Task
from unroll.evaluation.statistics import Losses, Test, p_value
from unroll.features.samples import Tensors


def evaluate(task: Task, prediction: Prediction, baselines: Mapping[str, Prediction], rows: Tensors) -> dict[str, Any]:
    """Compute the test metrics of a model and of its baselines, and compare the model with each baseline.

    Returns:
        `test`: the task's metrics; where the test split has periods, the first one's, and all of them under `periods`.
        `baseline`: the same for each baseline. `against`: for each baseline the skill (1 − mean loss / the baseline's),
        the p-value of the difference of the losses, and `test`, the name of the statistical test.
    """
    return {
        "test": metrics(task, prediction, rows),
        "baseline": {name: metrics(task, other, rows) for name, other in baselines.items()},
        "against": {name: _against(task, prediction, other, rows) for name, other in baselines.items()},
    }


def metrics(task: Task, prediction: Prediction, rows: Tensors) -> dict[str, Any]:
    """Compute the task's metrics, by period where it has periods."""
    periods = task.periods(rows)
    if not periods:
        return task.metrics(prediction, rows)
    parts = {name: task.metrics(prediction[inside], _at(rows, inside)) for name, inside in periods.items()}
    return {**next(iter(parts.values())), "periods": parts}


def comparison_test(task: Task) -> Test:
    """Return the name of the test that suits the task's losses."""
    if task.reader == "prices":
        return "diebold_mariano"
    return "mcnemar" if task.output == "label" else "paired_t_test"


def _against(task: Task, prediction: Prediction, other: Prediction, rows: Tensors) -> dict[str, Any]:
    ours, theirs = task.per_sample_loss(prediction, rows), task.per_sample_loss(other, rows)
    test, periods = comparison_test(task), task.periods(rows)
    if not periods:
        return _compare(test, ours, theirs)
    parts = {name: _compare(test, ours[inside], theirs[inside]) for name, inside in periods.items()}
    return {**next(iter(parts.values())), "periods": parts}


def _compare(test: Test, ours: Losses, theirs: Losses) -> dict[str, Any]:
    skill = float(1 - ours.mean() / theirs.mean()) if theirs.mean() > 0 else None
    return {"skill": skill, "p_value": p_value(test, ours, theirs), "test": test}


def _at(rows: Tensors, inside: Any) -> Tensors:
    return {name: tensor[inside] for name, tensor in rows.items()}
