"""What a task is: a value that model building, training, evaluation and export all read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from unroll.features.samples import Samples, Tensors
from unroll.models.network import Units

Topology = Literal["one_to_one", "one_to_many", "many_to_one", "many_to_many", "sequence_to_sequence"]
Prediction = NDArray[Any]
"""Raw outputs of a model or a baseline on test rows, [sample, …]; a class number counts as certain."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a model, as its card tells it.

    Attributes:
        name: In the graph.
        dtype: numpy's name of it.
        shape: Sizes; a text is a free axis (`batch`, `time`).
        unit: What the numbers mean.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    unit: str


@dataclass(frozen=True)
class Task:
    """What is learned: inputs, outputs, topology, loss, metrics, baselines, plots.

    Attributes:
        name: In params.yaml.
        kind: Of its section in params.yaml.
        topology: Of the task; a model without recurrence makes it `one_to_one`.
        reader: How batch prediction reads files for it: `digits` or `prices`.
        inputs: The model's one input, in raw units.
        outputs: The model's outputs, in raw units.
        features: Features of a time step, after `Units.prepare`.
        input_steps: Time steps of the samples at hand.
        steps: Time steps after `Units.prepare`, of the samples at hand.
        make_units: A new units module, not fitted.
        make_head: A new head for an encoding of so many features.
        loss: (network output, encoded targets) → mean loss, a scalar.
        metrics: (predictions, the rows they are for) → figures; some of them nested.
        row_losses: (predictions, rows) → float64 [sample], lower is better; what two forecasts are compared by.
        headline: The metric that experiments are compared by.
        higher_is_better: Of the headline.
        baselines: Samples → each baseline's predictions for the test rows, fold after fold.
        plot: (folder, title, predictions, rows, evaluation) → writes pictures.
        periods: Rows → parts of the test split that have figures of their own, as masks; the first is the headline's.
        details: What the card says beside inputs and outputs.
        classifies: Whether the graph also gives the most probable class.
        every_step: Many to many in step.
        least_steps: The shortest input that the model takes.
    """

    name: str
    kind: str
    topology: Topology
    reader: str
    inputs: TensorSpec
    outputs: tuple[TensorSpec, ...]
    features: int
    input_steps: int
    steps: int
    make_units: Callable[[], Units]
    make_head: Callable[[int], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    metrics: Callable[[Prediction, Tensors], dict[str, Any]]
    row_losses: Callable[[Prediction, Tensors], NDArray[np.float64]]
    headline: str
    higher_is_better: bool
    baselines: Callable[[Samples], Mapping[str, Prediction]]
    plot: Callable[[Path, str, Prediction, Tensors, Mapping[str, Any]], None]
    periods: Callable[[Tensors], Mapping[str, NDArray[np.bool_]]] = field(default=lambda rows: {})
    details: Mapping[str, Any] = field(default_factory=dict)
    classifies: bool = False
    every_step: bool = False
    least_steps: int = 1

    def better(self, value: float, than: float) -> bool:
        """Whether a headline value beats another."""
        return value > than if self.higher_is_better else value < than
