"""Task: forecast quantiles of the next steps of a series."""

import torch

from unroll.domains.series.config import ForecastTask
from unroll.domains.series.metrics import make_metrics
from unroll.domains.task import Ahead, Task, TensorSpec, pinball
from unroll.features.samples import Samples
from unroll.models.forecasts import SeriesWindows
from unroll.models.heads import MonotoneQuantileHead


def make_task(name: str, section: ForecastTask, samples: Samples) -> Task:
    """Return the task, many to one: a window of the past → all steps to come at once."""
    levels, periods = section.quantiles, samples.notes["periods"]
    values = len(section.targets) + len(section.inputs)
    columns = [*samples.notes["columns"], *(f"{part} of the {one}" for one in periods for part in ("sine", "cosine"))]

    def preprocessing() -> SeriesWindows:
        return SeriesWindows(
            len(columns),
            values,
            len(section.targets),
            history=section.history,
            horizon=section.horizon,
            season=section.season,
            linear=section.start == "linear",
        )

    prepared = preprocessing()
    return Task(
        name=name,
        domain=section.domain,
        kind=section.kind,
        metrics=make_metrics(section, samples),
        topology="many_to_one",
        inputs=TensorSpec(
            "inputs",
            "float32",
            ("batch", section.history + section.horizon, len(columns)),
            f"{', '.join(columns)} of past steps, then of those to come, 0 where it is not known",
        ),
        outputs=(
            TensorSpec(
                "quantiles",
                "float32",
                ("batch", section.horizon, len(section.targets), len(levels)),
                f"quantiles of {', '.join(section.targets)} in each step to come, increasing",
            ),
        ),
        features=prepared.features,
        make_preprocessing=preprocessing,
        make_head=lambda size: MonotoneQuantileHead(size, levels, section.horizon * len(section.targets)),
        loss=lambda output, target: pinball(output, target, torch.tensor(levels, device=output.device)),
        ahead=Ahead(
            section.horizon,
            len(columns) - values,
            lambda size: MonotoneQuantileHead(size, levels, len(section.targets)),
        ),
        details={
            "series": {
                "targets": list(section.targets),
                "inputs": list(section.inputs),
                "known": list(section.known),
                "history": section.history,
                "horizon": section.horizon,
                "step": samples.notes["step"],
                "periods": periods,
                "fill": section.fill,
            },
            "quantiles": list(levels),
        },
        input_steps=section.history + section.horizon,
        steps=section.history,
        min_steps=section.history + section.horizon,
    )
