"""`experiments`: a task, a model, how it is trained."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from unroll.config.section import Section


class Layer(Section):
    """One recurrent layer."""

    cell: Literal["rnn", "lstm", "gru"]
    units: Annotated[int, Field(ge=1)]


Initialization = Literal["orthogonal", "xavier", "he", "uniform"]


class Embedding(Section):
    """Vectors of tokens; of tasks that read or write tokens alone."""

    size: Annotated[int, Field(ge=1)] = 150
    init: Literal["random", "pretrained"] = "random"
    """Initial vectors: random, or those of the task's `vectors` file."""
    freeze: bool = False
    """Keep the initial vectors as they are."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.freeze and self.init == "random":
            raise ValueError("freeze: true needs init: pretrained; random vectors have to be trained")
        return self


class RecurrentModel(Section):
    """A stack of recurrent layers, of one cell or of several."""

    kind: Literal["recurrent"]
    embedding: Embedding = Embedding()
    pooling: Literal["last", "mean", "max"] = "last"
    """What a many-to-one head reads: each direction's last valid state, or the mean or greatest output over time."""
    tie_weights: bool = False
    """A language model's output weights are its embedding's (arXiv 1608.05859)."""
    layers: Annotated[tuple[Layer, ...], Field(min_length=1)]
    bidirectional: bool = False
    nonlinearity: Literal["tanh", "relu"] = "tanh"
    """Of plain RNN cells; LSTM and GRU have theirs built in."""
    initialization: Initialization = "orthogonal"
    """Of the recurrent weights; input weights are Xavier, or He where this is `he`."""
    forget_bias: float = 1.0
    layer_norm: bool = False
    """Layer normalization between layers."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Between layers and before the head."""
    tbptt_steps: Annotated[int, Field(ge=1)] | None = None
    """Truncated backpropagation through time: the state is carried on, the gradient stops every so many steps."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.tbptt_steps and self.bidirectional:
            raise ValueError("tbptt_steps needs a one-way network: a backward layer has no past to carry on")
        return self


class DenseModel(Section):
    """Fully connected layers over the flattened input: no recurrence."""

    kind: Literal["dense"]
    units: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    nonlinearity: Literal["tanh", "relu"] = "relu"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Decoder(Section):
    """The part that writes, token by token."""

    cell: Literal["rnn", "lstm", "gru"]
    units: Annotated[int, Field(ge=1)]
    attention: Literal["none", "additive"] = "none"
    """Over the encoder's outputs (arXiv 1409.0473); without it, the decoder knows the encoder's last state alone."""


class EncoderDecoderModel(Section):
    """A network that reads, and one that writes."""

    kind: Literal["encoder_decoder"]
    encoder: Annotated[RecurrentModel | DenseModel, Field(discriminator="kind")]
    decoder: Decoder
    embedding: Embedding = Embedding()
    """Of the decoder's tokens; shared with the encoder where both read tokens of one vocabulary."""
    reverse_source: bool = False
    """The encoder reads the source from its end (arXiv 1409.3215)."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.decoder.attention != "none" and self.encoder.kind == "dense":
            raise ValueError("attention needs a recurrent encoder: a dense one gives a single vector")
        if self.reverse_source and self.encoder.kind == "dense":
            raise ValueError("reverse_source needs a recurrent encoder: a dense one reads everything at once")
        return self


Model = Annotated[RecurrentModel | DenseModel | EncoderDecoderModel, Field(discriminator="kind")]


def _different(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) != len(seeds):
        raise ValueError("a seed stands here twice; equal seeds give equal networks")
    return seeds


class Training(Section):
    """How an experiment is trained."""

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)]
    """The peak, where the schedule has one."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of SGD alone."""
    schedule: Literal["constant", "one_cycle", "cosine", "linear"] = "constant"
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    patience: Annotated[int, Field(ge=1)] | None = None
    """Epochs without a better validation metric after which training stops."""
    keep: Literal["best", "last"] = "best"
    """Which epoch's weights are kept: the best by validation metric, or the last."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(_different)] = (0,)
    """One network a seed; their outputs are averaged in what is exported."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    autocast: Literal["none", "bf16"] = "none"
    """bf16 autocast, on CUDA alone: of embeddings, attention and output layers. Recurrent layers stay in float32, where
    cuDNN's would run in float16."""
    threads: Annotated[int, Field(ge=1)] = 1
    """Of one training process. It changes the last bits of a result."""


class Experiment(Section):
    """A named row of params.yaml."""

    domain: str
    """Domain of the task: DVC reads it to know which files a training depends on."""
    task: str
    model: Model
    training: Training
