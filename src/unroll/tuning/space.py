"""Parameters of a space, as Optuna keeps them and as the experiment takes them."""

import json
from collections.abc import Mapping
from typing import Any

from optuna import Trial
from optuna.trial import FrozenTrial

from unroll.config.experiments import Experiment
from unroll.config.tuning import Choices, Dimension, FloatRange, IntRange, value_of, with_values

Space = Mapping[str, Dimension]
PRESENT = "present"
"""Mark of the trial of the experiment's own values, which are taken as they are."""


def suggest(trial: Trial, space: Space) -> dict[str, Any]:
    """Let the sampler choose a value of each parameter, unless the trial was queued with its values."""
    for name, dimension in space.items():
        if isinstance(dimension, IntRange):
            # Optuna warns where the last step is shorter.
            high = dimension.high - (dimension.high - dimension.low) % dimension.step
            trial.suggest_int(name, dimension.low, high, step=dimension.step, log=dimension.log)
        elif isinstance(dimension, FloatRange):
            trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
        else:
            trial.suggest_categorical(name, [_as_scalar(choice) for choice in dimension.choices])
    return values_of(trial, space)


def values_of(trial: Trial | FrozenTrial, space: Space) -> dict[str, Any]:
    """Return the values that an experiment takes; parameters that a trial never got to are left out."""
    exact = PRESENT in trial.user_attrs
    return {name: _value(trial.params[name], one, exact) for name, one in space.items() if name in trial.params}


def present_values(experiment: Experiment, space: Space) -> dict[str, Any] | None:
    """Return an experiment's own values as Optuna keeps them; None if one of them is outside the space."""
    present: dict[str, Any] = {}
    for name, dimension in space.items():
        value = value_of(experiment, name)
        if isinstance(dimension, Choices):
            # A choice may leave defaults out, which the experiment's own value has.
            same = [one for one in dimension.choices if value_of(with_values(experiment, {name: one}), name) == value]
            if not same:
                return None
            present[name] = _as_scalar(same[0])
        elif not _contains(dimension, value):
            return None
        else:
            present[name] = value
    return present


def _value(suggested: Any, dimension: Dimension, exact: bool) -> Any:
    if isinstance(dimension, Choices):
        return next(choice for choice in dimension.choices if _as_scalar(choice) == suggested)
    if isinstance(dimension, FloatRange) and not exact:
        # More digits would only make params.yaml hard to read.
        return min(max(float(f"{suggested:.3g}"), dimension.low), dimension.high)
    return suggested


def _as_scalar(choice: Any) -> Any:
    """Return a choice as Optuna can store it: lists and mappings as JSON."""
    return json.dumps(choice) if isinstance(choice, list | dict) else choice


def _contains(dimension: IntRange | FloatRange, value: Any) -> bool:
    if not isinstance(value, int | float) or not dimension.low <= value <= dimension.high:
        return False
    return (value - dimension.low) % dimension.step == 0 if isinstance(dimension, IntRange) else True
