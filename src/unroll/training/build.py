"""One builder for every task and every model: N + M, not N × M."""

from torch import Tensor

from unroll.config.experiments import DenseModel, Embedding, EncoderDecoderModel, Model, RecurrentModel
from unroll.domains.task import Task
from unroll.errors import ParameterError
from unroll.models.decoder import Decoder
from unroll.models.dense import DenseEncoder
from unroll.models.embedding import TokenEmbedding
from unroll.models.generators import EncoderDecoder, LanguageModel
from unroll.models.network import SequenceNetwork, TiedHead
from unroll.models.recurrent import RecurrentEncoder


def build_model(task: Task, model: Model, vectors: Tensor | None = None) -> SequenceNetwork | EncoderDecoder:
    """A network for a task, its weights drawn from torch's generator as it stands.

    Args:
        task: What it is to learn.
        model: Its parameters.
        vectors: float32 [vocabulary, size], for embeddings that begin with them; None leaves them to chance, as where
            trained weights are loaded afterwards.

    Raises:
        ParameterError: The model cannot do the task, or the vectors are of another size.
    """
    writes_alone = bool(task.target_vocab_size) and not task.every_step
    if isinstance(model, EncoderDecoderModel):
        if not writes_alone:
            raise ParameterError(
                f"an encoder_decoder model writes a sequence of its own, task {task.name!r} wants "
                f"{'an output for each step' if task.every_step else 'one output'}: use recurrent"
            )
        return _encoder_decoder(task, model, vectors)
    if writes_alone:
        raise ParameterError(f"task {task.name!r} writes a sequence of its own: use an encoder_decoder model")
    encoder_embedding = None
    if isinstance(model, RecurrentModel):
        _check_direction(task, model)
        encoder_embedding = _embedding(task, model.embedding, task.source_vocab_size, model.dropout, vectors)
    encoder = _encoder(task, model, encoder_embedding)
    preprocessing, dropout = task.make_preprocessing(), model.dropout
    if isinstance(model, DenseModel) or isinstance(encoder, DenseEncoder):
        return SequenceNetwork(preprocessing, encoder, task.make_head(encoder.output_size), dropout=dropout)
    if model.tie_weights and not (task.target_vocab_size and encoder_embedding):
        raise ParameterError(f"tie_weights is for language models; task {task.name!r} writes no tokens: leave it out")
    if task.target_vocab_size and encoder_embedding:
        head = (
            TiedHead(encoder.output_size, encoder_embedding)
            if model.tie_weights
            else task.make_head(encoder.output_size)
        )
        return LanguageModel(preprocessing, encoder_embedding, encoder, head, dropout=dropout)
    return SequenceNetwork(
        preprocessing,
        encoder,
        task.make_head(encoder.output_size),
        embedding=encoder_embedding,
        every_step=task.every_step,
        pooling=model.pooling,
        dropout=dropout,
    )


def _encoder_decoder(task: Task, model: EncoderDecoderModel, vectors: Tensor | None) -> EncoderDecoder:
    _check_encoder(model)
    written = _embedding(task, model.embedding, task.target_vocab_size, model.dropout, vectors)
    # One vocabulary for both sides, so one set of vectors.
    read = written if task.source_vocab_size else None
    encoder = _encoder(task, model.encoder, read)
    attends = model.decoder.attention == "additive"
    if written is None:
        raise ParameterError(f"task {task.name!r} has no vocabulary; run `unroll featurize {task.name}` again")
    decoder = Decoder(
        model.decoder.cell,
        model.decoder.units,
        written,
        # Of an LSTM both states are handed over.
        encoder.output_size * (2 if isinstance(encoder, RecurrentEncoder) and encoder.layers[-1].cell == "lstm" else 1),
        value_size=encoder.output_size if attends else 0,
        dropout=model.dropout,
    )
    return EncoderDecoder(
        task.make_preprocessing(), encoder, decoder, embedding=read, reverse_source=model.reverse_source
    )


def _check_encoder(model: EncoderDecoderModel) -> None:
    """Refuses what an encoder beside a decoder would do nothing with."""
    encoder = model.encoder
    if isinstance(encoder, DenseModel):
        return
    if encoder.embedding != Embedding():
        raise ParameterError("set `embedding` beside `encoder`, not in it: encoder and decoder share the vectors")
    if encoder.pooling != "last":
        raise ParameterError("a decoder begins with the encoder's last state: leave `pooling` out of `encoder`")
    if encoder.tie_weights:
        raise ParameterError(
            "a decoder's output weights are always tied, an encoder has none: leave `tie_weights` out of it"
        )


def _encoder(
    task: Task, model: RecurrentModel | DenseModel, embedding: TokenEmbedding | None
) -> DenseEncoder | RecurrentEncoder:
    if isinstance(model, DenseModel):
        if task.every_step and not task.target_vocab_size:
            raise ParameterError(f"a dense model has one output, task {task.name!r} wants one a step: use recurrent")
        if task.variable_length or task.source_vocab_size:
            raise ParameterError(f"a dense model needs inputs of one size, task {task.name!r} has not: use recurrent")
        return DenseEncoder(
            task.steps * task.features, model.units, nonlinearity=model.nonlinearity, dropout=model.dropout
        )
    return RecurrentEncoder(
        embedding.output_size if embedding else task.features,
        [(layer.cell, layer.units) for layer in model.layers],
        bidirectional=model.bidirectional,
        nonlinearity=model.nonlinearity,
        initialization=model.initialization,
        forget_bias=model.forget_bias,
        layer_norm=model.layer_norm,
        dropout=model.dropout,
        tbptt_steps=model.tbptt_steps,
    )


def _embedding(
    task: Task, settings: Embedding, vocabulary: int, dropout: float, vectors: Tensor | None
) -> TokenEmbedding | None:
    if not vocabulary:
        if settings != Embedding():
            raise ParameterError(f"task {task.name!r} has no tokens: leave `embedding` out")
        return None
    embedding = TokenEmbedding(
        vocabulary,
        settings.size,
        characters=task.characters,
        character_vocab_size=task.character_vocab_size,
        dropout=dropout,
    )
    if settings.init == "pretrained" and vectors is not None:
        if vectors.shape[1] != settings.size:
            raise ParameterError(
                f"the vectors of tasks.{task.name}.vectors have {vectors.shape[1]} numbers, embedding.size is "
                f"{settings.size}; make them equal"
            )
        embedding.load(vectors, freeze=settings.freeze)
    return embedding


def _check_direction(task: Task, model: RecurrentModel) -> None:
    if model.bidirectional and task.causal:
        raise ParameterError(
            f"each step of task {task.name!r} tells what comes next: a backward layer would read it; "
            "set bidirectional: false"
        )
    if model.pooling != "last" and task.every_step:
        raise ParameterError(f"task {task.name!r} has an output for each step, nothing is pooled: leave `pooling` out")
