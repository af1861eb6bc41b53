"""What a task is: a value that model building, training, evaluation and export all read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from unroll.config.decoding import DecodingConfig
from unroll.config.experiments import DenseModel, Model
from unroll.config.section import TaskSection
from unroll.domains import domain_of
from unroll.features.samples import VOCABULARY, Samples
from unroll.features.special_tokens import IGNORE_INDEX
from unroll.features.text import Vocabulary
from unroll.metrics.metrics import Metrics
from unroll.models.preprocessing import Preprocessing

Topology = Literal["one_to_one", "one_to_many", "many_to_one", "many_to_many", "sequence_to_sequence"]


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
    """What is learned: inputs, outputs, topology, loss and metrics.

    Attributes:
        name: In params.yaml.
        domain: Of its section in params.yaml.
        kind: The same.
        metrics: How its predictions are judged.
        topology: Of the task; a model without recurrence makes it `one_to_one`.
        inputs: The model's input, in raw units.
        outputs: The model's outputs, in raw units.
        features: Features of a time step, after `Preprocessing.prepare`; 0 where a step is a token, which an embedding
            turns into features.
        make_preprocessing: A new preprocessing module, not fitted.
        make_head: A new head for an encoding of so many features; of tasks that write tokens, the decoder has its own.
        loss: (network output, encoded targets) → mean loss, a scalar.
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
    """

    name: str
    domain: str
    kind: str
    metrics: Metrics
    topology: Topology
    inputs: TensorSpec
    outputs: tuple[TensorSpec, ...]
    features: int
    make_preprocessing: Callable[[], Preprocessing]
    make_head: Callable[[int], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
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
    decoding: DecodingConfig | None = None


GENERATED = (
    TensorSpec(
        "tokens",
        "int64",
        ("batch", "beam", "step"),
        "token numbers, best first if searched for; padding after <eos>",
    ),
    TensorSpec("scores", "float32", ("batch", "beam"), "log probability (nats) / length ^ length_penalty"),
)
"""Outputs of a model that generates tokens."""


def step_loss(output: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of logits [batch, time, class] for targets int64 [batch, time], IGNORE_INDEX ones left out."""
    return F.cross_entropy(output.flatten(0, 1), targets.flatten(), ignore_index=IGNORE_INDEX)


def text_card(
    column: str,
    vocabulary: str,
    *,
    max_tokens: int,
    truncation: bool,
    first_token: int | None = None,
    characters: int = 0,
    pretokenized: bool = False,
) -> dict[str, Any]:
    """How batch prediction makes token numbers of a text column.

    Args:
        column: Its name.
        vocabulary: Name of the vocabulary among the task's.
        max_tokens: The longest text.
        truncation: Whether a longer one is cut; otherwise it is rejected.
        first_token: Stands before the text's own tokens; None for none.
        characters: Read beside each token.
        pretokenized: Whether a text may be a list of tokens, each of which gets a label.
    """
    return {
        "column": column,
        "pretokenized": pretokenized,
        "vocabulary": vocabulary + VOCABULARY,
        "max_tokens": max_tokens,
        "truncation": truncation,
        "first_token": first_token,
        "characters": characters,
        "character_vocabulary": f"character{VOCABULARY}" if characters else None,
    }


def generator_card(vocabulary: str, decoding: DecodingConfig) -> dict[str, Any]:
    """What a card says of a model that writes: what its tokens mean, and how they are searched for unless told."""
    return {"output_vocabulary": vocabulary + VOCABULARY, "decoding": decoding.model_dump(mode="json")}


def make_task(name: str, section: TaskSection, samples: Samples) -> Task:
    """Return the task that a section of params.yaml describes, of any domain.

    Args:
        name: Name of the task in params.yaml.
        section: The task in params.yaml.
        samples: Its samples, whose vocabularies and notes give the sizes of inputs and outputs.
    """
    task: Task = domain_of(section.domain).part("task").make_task(name, section, samples)
    return task


def topology_of(task: Task, model: Model) -> Topology:
    """Return the topology of a network: the task's, but a dense one sees its whole input at once."""
    return "one_to_one" if isinstance(model, DenseModel) else task.topology
