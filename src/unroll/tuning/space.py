"""Parameters of a space, as Optuna keeps them and as the experiment takes them."""

import json
from collections.abc import Mapping
from typing import Any

from optuna import Trial

from unroll.config.experiments import Experiment
from unroll.config.tuning import Choices, Dimension, FloatRange, IntRange, value_of

Space = Mapping[str, Dimension]


def suggest(trial: Trial, space: Space) -> dict[str, Any]:
    """Let the sampler choose a value of each parameter."""
    for name, dimension in space.items():
        if isinstance(dimension, IntRange):
            # Optuna warns where the last step is shorter.
            high = dimension.high - (dimension.high - dimension.low) % dimension.step
            trial.suggest_int(name, dimension.low, high, step=dimension.step, log=dimension.log)
        elif isinstance(dimension, FloatRange):
            trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
        else:
            trial.suggest_categorical(name, [_as_scalar(choice) for choice in dimension.choices])
    return values_of(trial.params, space)


def values_of(suggested: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """Return the values that an experiment takes; parameters that a trial never got to are left out."""
    return {name: _value(suggested[name], one) for name, one in space.items() if name in suggested}


def present_values(experiment: Experiment, space: Space) -> dict[str, Any] | None:
    """Return an experiment's own values as Optuna keeps them; None if one of them is outside the space."""
    present = {name: value_of(experiment, name) for name in space}
    if all(_contains(space[name], value) for name, value in present.items()):
        return {name: _as_scalar(value) for name, value in present.items()}
    return None


def _value(suggested: Any, dimension: Dimension) -> Any:
    if isinstance(dimension, Choices):
        return next(choice for choice in dimension.choices if _as_scalar(choice) == suggested)
    if isinstance(dimension, FloatRange):
        # More digits would only make params.yaml hard to read.
        return min(max(float(f"{suggested:.3g}"), dimension.low), dimension.high)
    return suggested


def _as_scalar(choice: Any) -> Any:
    """Return a choice as Optuna can store it: lists and mappings as JSON."""
    return json.dumps(choice) if isinstance(choice, list | dict) else choice


def _contains(dimension: Dimension, value: Any) -> bool:
    if isinstance(dimension, Choices):
        return value in dimension.choices
    if not isinstance(value, int | float) or not dimension.low <= value <= dimension.high:
        return False
    return (value - dimension.low) % dimension.step == 0 if isinstance(dimension, IntRange) else True
