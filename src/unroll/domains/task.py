"""Tasks: values that model building, training, evaluation and export read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unroll.config.decoding import DecodingConfig
from unroll.config.experiments import DenseModel, EncoderDecoderModel, Model
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
    """An input or output of a model, as in its card.

    Attributes:
        name: Name in the graph.
        dtype: NumPy's name of the type.
        shape: Sizes; a variable one has a name (`batch`, `time`).
        unit: What the numbers mean.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    unit: str


@dataclass(frozen=True)
class Ahead:
    """Steps to come, which a decoder forecasts one by one instead of a head all at once.

    Attributes:
        steps: Number of steps.
        known: Number of features that are known of them: the last ones of the last `steps` steps of the features.
        make_head: Size of a step's encoding → a new head for a step.
    """

    steps: int
    known: int
    make_head: Callable[[int], nn.Module]


@dataclass(frozen=True)
class Task:
    """What is learned: inputs, outputs, topology, loss and metrics.

    Attributes:
        name: Name in params.yaml.
        domain: Domain of its section in params.yaml.
        kind: Kind of its section in params.yaml.
        metrics: Metrics and baselines.
        topology: Topology of the task; with a model without recurrence it is `one_to_one`.
        inputs: Input of the model, in raw units.
        outputs: Outputs of the model, in raw units.
        features: Features of a time step after `Preprocessing.prepare`; 0 if a step is a token, which an embedding
            turns into features.
        make_preprocessing: Returns a new preprocessing module, not fitted.
        make_head: Size of an encoding → a new head for it. A decoder that generates tokens has its own.
        loss: (network output, encoded targets) → mean loss, a scalar.
        ahead: The steps to come, where the outputs are values of these.
        details: Content of the card besides inputs and outputs.
        output: Outputs of the exported graph: the network's `values`, the most probable `label` with all
            probabilities, `labels` for every step, or generated `tokens`.
        every_step: Whether there is an output for every step (many to many in step).
        unaligned: Whether the targets are shorter than these outputs, and it is not given which output is for which.
        causal: Whether the output of a step must not depend on later steps, because it forecasts them.
        variable_length: Whether the lengths of inputs vary, so that the graph has an input `lengths`.
        stateful: Whether samples are consecutive windows of one stream, between which the state is carried on.
        input_steps: Time steps of every sample; 0 if they vary.
        steps: Time steps of every sample after `Preprocessing.prepare`; 0 if they vary.
        min_steps: Least number of time steps that the model reads.
        vocabularies: Vocabularies by name, that of the inputs first.
        source_vocab_size: Size of the vocabulary of the inputs; 0 if they are not tokens.
        target_vocab_size: Size of the vocabulary of generated tokens; 0 if none are generated.
        characters: Number of characters of each token that the model also reads.
        character_vocab_size: Size of the vocabulary of characters.
        decoding: How tokens are generated, if they are.
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
    ahead: Ahead | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    output: Literal["values", "label", "labels", "tokens"] = "values"
    every_step: bool = False
    unaligned: bool = False
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
        "token numbers, best beam first; padding after <eos>",
    ),
    TensorSpec("scores", "float32", ("batch", "beam"), "log probability (nats) / length ^ length_penalty"),
)
"""Outputs of a model that generates tokens."""


def step_loss(output: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits [batch, time, class] for targets int64 [batch, time], a scalar.

    Targets of IGNORE_INDEX are not counted.
    """
    return F.cross_entropy(output.flatten(0, 1), targets.flatten(), ignore_index=IGNORE_INDEX)


def ctc_loss(output: Tensor, targets: Tensor) -> Tensor:
    """Return the mean negative log probability of targets whose places are not given, in nats per symbol, a scalar.

    Args:
        output: Logits [batch, step, symbol]; symbol 0 is the blank, which separates and is left out.
        targets: int64 [batch, place], IGNORE_INDEX after the last.

    Source: Graves et al. 2006 (connectionist temporal classification).
    """
    steps = torch.full((len(output),), output.shape[1])
    lengths = (targets != IGNORE_INDEX).sum(1)
    log_probabilities = output.log_softmax(-1).transpose(0, 1)
    return F.ctc_loss(log_probabilities, targets.clamp_min(0), steps, lengths, zero_infinity=True)


def pinball(output: Tensor, target: Tensor, levels: Tensor) -> Tensor:
    """Return the mean pinball loss of quantiles [..., level] for targets [...], a scalar.

    Source: Koenker & Bassett 1978.
    """
    error = target.unsqueeze(-1) - output
    return torch.maximum(levels * error, (levels - 1) * error).mean()


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
    """Return the section `text` of a card: how a text becomes token numbers.

    Args:
        column: Name of the column of texts.
        vocabulary: Name of the vocabulary.
        max_tokens: Maximum number of tokens.
        truncation: Whether longer texts are truncated; otherwise they are rejected.
        first_token: Number of a token before every text, if any.
        characters: Number of characters of each token that the model also reads.
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
    """Return the parts of a card for a model that generates text: the vocabulary, and default decoding settings."""
    return {"output_vocabulary": vocabulary + VOCABULARY, "decoding": decoding.model_dump(mode="json")}


def make_task(name: str, section: TaskSection, samples: Samples) -> Task:
    """Return the task that a section of params.yaml describes, of any domain.

    Args:
        name: Name of the task in params.yaml.
        section: Section of the task in params.yaml.
        samples: Samples of the task, whose vocabularies and notes give the sizes of inputs and outputs.
    """
    task: Task = domain_of(section.domain).part("task").make_task(name, section, samples)
    return task


def topology_of(task: Task, model: Model) -> Topology:
    """Return a network's topology: the task's, unless it is dense or has a decoder for steps to come."""
    if isinstance(model, EncoderDecoderModel) and task.ahead:
        return "sequence_to_sequence"
    # A dense network sees its whole input at once.
    return "one_to_one" if isinstance(model, DenseModel) else task.topology
