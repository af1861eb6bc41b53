"""What a task is: a value that model building, training, evaluation and export all read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from unroll import config
from unroll.features.samples import Samples, Tensors
from unroll.features.text import Vocabulary
from unroll.models.network import Preprocessing

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
        reader: How batch prediction reads files for it: `digits`, `prices`, `text` or `arrays`.
        inputs: The model's input, in raw units.
        outputs: The model's outputs, in raw units.
        features: Features of a time step, after `Preprocessing.prepare`; 0 where a step is a token, which an embedding
            turns into features.
        make_preprocessing: A new preprocessing module, not fitted.
        make_head: A new head for an encoding of so many features; of tasks that write tokens, the decoder has its own.
        loss: (network output, encoded targets) → mean loss, a scalar.
        metrics: (predictions, the rows they are for) → figures; some of them nested.
        per_sample_loss: (predictions, rows) → float64 [sample], lower is better; what two forecasts are compared by.
        headline: The metric that experiments are compared by.
        higher_is_better: Of the headline.
        baselines: Samples → each baseline's predictions for the test rows, fold after fold.
        plot: (folder, title, predictions, rows, evaluation) → writes pictures.
        periods: Rows → parts of the test split that have figures of their own, as masks; the first is the headline's.
        details: What the card says beside inputs and outputs.
        output: What the exported graph gives: the network's `values`, the most probable `label` with all
            probabilities, `labels` for every step, or `tokens` that are written one by one.
        every_step: Many to many in step.
        causal: Whether a step's output must not depend on later steps, as where it forecasts them.
        variable_length: Whether the lengths of inputs vary: the graph then takes `lengths`, too.
        stateful: Whether samples are windows of one stream, in order, with the state carried on.
        input_steps: Time steps of the samples at hand, where all have as many.
        steps: Time steps after `Preprocessing.prepare`, where all have as many.
        min_steps: The shortest input that the model takes.
        vocabularies: What its tokens mean.
        source_vocab_size: Size of the vocabulary of the inputs; 0 where they are no tokens.
        target_vocab_size: Size of the vocabulary of what is written token by token; 0 where nothing is.
        characters: Of each token, so many characters are read beside it.
        character_vocab_size: Size of their vocabulary.
        decoding: How tokens are searched for, where some are written.
        write_examples: (folder, token numbers of sequences that were drawn) → writes them as people read or hear them.
    """

    name: str
    kind: str
    topology: Topology
    reader: str
    inputs: TensorSpec
    outputs: tuple[TensorSpec, ...]
    features: int
    make_preprocessing: Callable[[], Preprocessing]
    make_head: Callable[[int], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    metrics: Callable[[Prediction, Tensors], dict[str, Any]]
    per_sample_loss: Callable[[Prediction, Tensors], NDArray[np.float64]]
    headline: str
    higher_is_better: bool
    baselines: Callable[[Samples], Mapping[str, Prediction]]
    plot: Callable[[Path, str, Prediction, Tensors, Mapping[str, Any]], None]
    periods: Callable[[Tensors], Mapping[str, NDArray[np.bool_]]] = field(default=lambda rows: {})
    details: Mapping[str, Any] = field(default_factory=dict)
    output: Literal["values", "label", "labels", "tokens"] = "values"
    every_step: bool = False
    causal: bool = False
    variable_length: bool = False
    stateful: bool = False
    input_steps: int = 0
    steps: int = 0
    min_steps: int = 1
    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict)
    source_vocab_size: int = 0
    target_vocab_size: int = 0
    characters: int = 0
    character_vocab_size: int = 0
    decoding: config.DecodingConfig | None = None
    write_examples: Callable[[Path, list[list[int]]], None] | None = None

    def better(self, value: float, than: float) -> bool:
        """Whether a headline value beats another."""
        return value > than if self.higher_is_better else value < than
