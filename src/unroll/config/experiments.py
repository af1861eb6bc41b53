"""`experiments` in params.yaml: a task, a model, and how it is trained."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from unroll.config.section import Section

Cell = Literal["rnn", "lstm", "gru"]
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Layer(Section):
    """One recurrent layer."""

    cell: Cell
    units: Positive


class Convolution(Section):
    """A convolution over time, followed by a rectifier."""

    channels: Positive
    width: Literal[1, 3, 5, 7, 9, 11] = 5
    """Steps that it reads at once."""
    stride: Positive = 1
    """Steps from one output to the next."""


class Embedding(Section):
    """Vectors of tokens, for tasks that read or write tokens."""

    size: Positive = 150
    init: Literal["random", "pretrained"] = "random"
    """Initial vectors: random, or those of the task's `vectors` file."""
    freeze: bool = False
    """Do not train the initial vectors."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.freeze and self.init == "random":
            raise ValueError("freeze: true needs init: pretrained; random vectors have to be trained")
        return self


class SampledSoftmax(Section):
    """A softmax over a part of a large vocabulary."""

    first: Positive
    """Number of the most frequent tokens, which are always in it."""
    sampled: Positive
    """Number of other tokens that stand for the rest, sampled anew for each batch."""


class RecurrentModel(Section):
    """A stack of recurrent layers, whose cells may differ."""

    kind: Literal["recurrent"]
    embedding: Embedding = Embedding()
    pooling: Literal["last", "mean", "max"] = "last"
    """Input of a many-to-one head: each direction's last valid state, or the mean or maximum output over time."""
    tie_weights: bool = False
    """Use the embedding as output weights of a language model (arXiv 1608.05859)."""
    sampled_softmax: SampledSoftmax | None = None
    """Train a language model on a part of a large vocabulary, which is faster; evaluation uses all of it."""
    convolutions: tuple[Convolution, ...] = ()
    """Convolutions over time before the recurrent layers; strides make the sequence shorter."""
    layers: Annotated[tuple[Layer, ...], Field(min_length=1)]
    bidirectional: bool = False
    nonlinearity: Literal["tanh", "relu"] = "tanh"
    """Activation of plain RNN cells; LSTM and GRU have theirs built in."""
    initialization: Literal["orthogonal", "xavier", "he", "uniform"] = "orthogonal"
    """Initial weights: orthogonal recurrent and Glorot-uniform input weights (Keras's default), or all of them
    Glorot-uniform, He-uniform, or uniform within 1/√units (torch's default)."""
    forget_bias: float = 1.0
    """Initial bias of an LSTM's forget gate."""
    layer_norm: bool = False
    """Layer normalization between layers."""
    dropout: Share = 0.0
    """Share of features dropped between layers and before the head."""
    tbptt_steps: Positive | None = None
    """Truncated backpropagation through time: the state is passed on, but the gradient stops after this many steps."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.tbptt_steps and self.bidirectional:
            raise ValueError("tbptt_steps needs a one-way network: a backward layer has no earlier state to pass on")
        return self


class DenseModel(Section):
    """Fully connected layers over the flattened input, without recurrence."""

    kind: Literal["dense"]
    units: Annotated[tuple[Positive, ...], Field(min_length=1)]
    nonlinearity: Literal["tanh", "relu"] = "relu"
    dropout: Share = 0.0


class Decoder(Section):
    """The part that writes, token by token."""

    cell: Cell
    units: Positive
    attention: Literal["none", "additive", "dot"] = "none"
    """Attention to the encoder's outputs, from the previous state (additive, arXiv 1409.0473) or the new one (dot,
    arXiv 1508.04025; much faster); without it, the decoder sees only the encoder's last state."""


class EncoderDecoderModel(Section):
    """An encoder that reads, and a decoder that writes."""

    kind: Literal["encoder_decoder"]
    encoder: Annotated[RecurrentModel | DenseModel, Field(discriminator="kind")]
    decoder: Decoder
    embedding: Embedding = Embedding()
    """Vectors of the decoder's tokens; shared with the encoder if both read tokens of one vocabulary."""
    reverse_source: bool = False
    """Read the source from its end (arXiv 1409.3215)."""
    sampled_softmax: SampledSoftmax | None = None
    """Train on a part of a large vocabulary, which is faster; evaluation uses all of it."""
    dropout: Share = 0.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        encoder = self.encoder
        if isinstance(encoder, DenseModel):
            if self.decoder.attention != "none":
                raise ValueError("attention needs a recurrent encoder: a dense one gives a single vector")
            if self.reverse_source:
                raise ValueError("reverse_source needs a recurrent encoder: a dense one reads everything at once")
            return self
        if encoder.embedding != Embedding():
            raise ValueError("set embedding beside encoder, not in it: encoder and decoder share the vectors")
        if encoder.pooling != "last" or encoder.tie_weights or encoder.sampled_softmax:
            raise ValueError(
                "pooling, tie_weights and sampled_softmax have no effect in an encoder: leave them out of it"
            )
        return self


Model = Annotated[RecurrentModel | DenseModel | EncoderDecoderModel, Field(discriminator="kind")]


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) != len(seeds):
        raise ValueError("a seed is given twice; equal seeds give equal networks")
    return seeds


class Training(Section):
    """Parameters of training."""

    epochs: Positive
    batch_size: Positive
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)]
    """Learning rate; its peak if the schedule varies it."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    momentum: Share = 0.9
    """Momentum of SGD; other optimizers ignore it."""
    schedule: Literal["constant", "one_cycle", "cosine", "linear"] = "constant"
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    patience: Positive | None = None
    """Stop training after this many epochs without a better validation metric."""
    keep: Literal["best", "last"] = "best"
    """The epoch whose weights are kept: the best by validation metric, or the last."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(_distinct)] = (0,)
    """One network for each seed; the exported model averages their outputs."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    autocast: Literal["none", "bf16"] = "none"
    """bf16 trains in bfloat16 where that is faster, on CUDA and on CPUs with AMX, and in float32 elsewhere. RNN and GRU
    layers stay in float32, on CUDA LSTM layers as well."""
    threads: Positive = 1
    """Threads of a training process; the number changes the last bits of a result."""


class Export(Section):
    """How the bundle is made. A change here leaves the trained weights as they are."""

    quantize: Literal["none", "int8"] = "none"
    """int8: weights of dense, embedding, output and LSTM layers as whole numbers of 8 bits, for a smaller graph."""
    max_loss: Annotated[float, Field(gt=0, lt=1)] = 0.003
    """How much of the headline metric the int8 graph may lose to the float32 one; export fails beyond it. 0.003 is 0.3
    points of an accuracy, an F1 or BLEU, and 0.3 % of an error or a perplexity."""


class Experiment(Section):
    """A named entry of params.yaml."""

    domain: str
    """Domain of the task: DVC reads it to know which files `train` depends on."""
    task: str
    model: Model
    training: Training
    export: Export = Export()
