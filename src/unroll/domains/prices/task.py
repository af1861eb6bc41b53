"""Task: predict the next price as a level, as a log return over the last known price, or as quantiles of it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from unroll.domains.prices.config import LevelTask, LogReturnTask, QuantileTask
from unroll.domains.prices.metrics import make_metrics
from unroll.domains.prices.samples import known_column
from unroll.domains.task import Task, TensorSpec, pinball
from unroll.features.samples import Samples
from unroll.models.heads import LinearHead, MonotoneQuantileHead
from unroll.models.preprocessing import EwmaReturns, LogReturns, PriceLevels


def make_task(name: str, section: LevelTask | LogReturnTask | QuantileTask, samples: Samples) -> Task:
    """Return the task, many to one, or many to many in step."""
    if isinstance(section, QuantileTask):
        return _quantile_task(name, section, samples)
    return _price_task(name, section, samples)


def _price_task(name: str, section: LevelTask | LogReturnTask, samples: Samples) -> Task:
    """Return a task on levels scaled to the training range, or on residuals, where an output of 0 is persistence."""
    columns, target = section.columns, section.target
    levels = isinstance(section, LevelTask)
    every_step = isinstance(section, LevelTask) and section.every_step
    # A residual is added to the last known price; a level has the scale of the target itself.
    position = columns.index(target if levels else known_column(target))
    volumes = tuple(index for index, column in enumerate(columns) if column == "volume")
    return Task(
        name=name,
        domain=section.domain,
        kind=section.kind,
        metrics=make_metrics(section, samples),
        topology="many_to_many" if every_step else "many_to_one",
        inputs=TensorSpec("inputs", "float32", ("batch", "time", len(columns)), f"{', '.join(columns)} of past days"),
        outputs=(
            TensorSpec(
                "price", "float32", ("batch", "time") if every_step else ("batch",), f"{target} of the next day"
            ),
        ),
        features=len(columns),
        input_steps=section.window,
        steps=section.window if levels else section.window - 1,
        make_preprocessing=lambda: (
            PriceLevels(len(columns), position) if levels else LogReturns(len(columns), position, volumes)
        ),
        make_head=lambda size: LinearHead(size, 1, start_at_zero=not levels),
        loss=_squared_error,
        details={
            "prices": {
                "columns": list(columns),
                "target": target,
                "known": known_column(target),
                "window": section.window,
                "every_step": every_step,
            }
        },
        every_step=every_step,
        # The target of each step is the price of the next day, which is an input of the next step.
        causal=every_step,
        min_steps=1 if levels else 2,
    )


def _quantile_task(name: str, section: QuantileTask, samples: Samples) -> Task:
    levels = section.quantiles
    days = section.volatility_window + section.window + 1
    return Task(
        name=name,
        domain=section.domain,
        kind=section.kind,
        metrics=make_metrics(section, samples),
        topology="many_to_one",
        inputs=TensorSpec("inputs", "float32", ("batch", "time", 1), "close of past days"),
        outputs=(
            TensorSpec(
                "log_return_quantiles",
                "float32",
                ("batch", len(levels)),
                "quantiles of the next day's log return (1 = 100 %), increasing",
            ),
        ),
        features=1,
        input_steps=days,
        steps=section.window,
        make_preprocessing=lambda: EwmaReturns(section.decay, section.volatility_window),
        make_head=lambda size: MonotoneQuantileHead(size, levels),
        loss=lambda output, target: pinball(output, target, torch.tensor(levels, device=output.device)),
        details={
            "prices": {"columns": ["close"], "target": "close", "window": days, "every_step": False},
            "quantiles": list(levels),
        },
        min_steps=section.volatility_window + 2,
    )


def _squared_error(output: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(output.squeeze(-1), target)
