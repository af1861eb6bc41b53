"""Networks from a task and a model's parameters: any of N tasks with any of M models that fits it."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from unroll.config.experiments import DenseModel, Embedding, EncoderDecoderModel, Model, RecurrentModel
from unroll.domains.task import Task
from unroll.models.decoder import Decoder
from unroll.models.embedding import TokenEmbedding
from unroll.models.encoders import DenseEncoder, RecurrentEncoder
from unroll.models.forecasts import Forecaster
from unroll.models.generators import EncoderDecoder, LanguageModel, Network
from unroll.models.heads import LinearHead, TiedHead
from unroll.models.network import Classifier, Ensemble, SequenceNetwork, TokenClassifier


def build_model(task: Task, model: Model, *, seed: int = 0, vectors: Tensor | None = None) -> Network:
    """Build a network with random weights.

    Args:
        task: What it is to learn; `unroll.training.checks` refuses models that do not fit it.
        model: Its parameters.
        seed: Seed of the weights.
        vectors: float32 [vocabulary, size], for a pretrained embedding; not needed to load trained weights.
    """
    torch.manual_seed(seed)
    preprocessing = task.make_preprocessing()
    part = None if isinstance(model, DenseModel) else model.sampled_softmax
    # A small vocabulary is used whole.
    large = part is not None and part.first + part.sampled < task.target_vocab_size
    sampled_softmax = (part.first, part.sampled) if part and large else None
    if isinstance(model, EncoderDecoderModel) and task.ahead:
        steps = RecurrentEncoder(max(task.ahead.known, 1), [(model.decoder.cell, model.decoder.units)])
        return Forecaster(
            preprocessing,
            RecurrentEncoder(task.features, **_recurrent_options(cast(RecurrentModel, model.encoder))),
            steps,
            task.ahead.make_head(steps.output_size),
            steps=task.ahead.steps,
            known=task.ahead.known,
            dropout=model.dropout,
        )
    if isinstance(model, EncoderDecoderModel):
        target = _embedding(task, model.embedding, task.target_vocab_size, model.dropout, vectors)
        # Source and target share a vocabulary, so they share the vectors.
        source = target if task.source_vocab_size else None
        reader = (
            DenseEncoder(task.steps * task.features, **_dense_options(model.encoder))
            if isinstance(model.encoder, DenseModel)
            else RecurrentEncoder(source.output_size if source else task.features, **_recurrent_options(model.encoder))
        )
        decoder = Decoder(
            model.decoder.cell,
            model.decoder.units,
            target,
            reader.state_size,
            attention=model.decoder.attention,
            value_size=reader.output_size,
            dropout=model.dropout,
        )
        return EncoderDecoder(
            preprocessing,
            reader,
            decoder,
            embedding=source,
            reverse_source=model.reverse_source,
            sampled_softmax=sampled_softmax,
        )
    if isinstance(model, DenseModel):
        dense = DenseEncoder(task.steps * task.features, **_dense_options(model))
        return SequenceNetwork(preprocessing, dense, task.make_head(dense.output_size), dropout=model.dropout)
    embedding = (
        _embedding(task, model.embedding, task.source_vocab_size, model.dropout, vectors)
        if task.source_vocab_size
        else None
    )
    encoder = RecurrentEncoder(embedding.output_size if embedding else task.features, **_recurrent_options(model))
    if task.target_vocab_size and embedding:
        size = encoder.output_size
        head = TiedHead(size, embedding) if model.tie_weights else cast(LinearHead, task.make_head(size))
        return LanguageModel(
            preprocessing,
            embedding,
            encoder,
            head,
            dropout=model.dropout,
            sampled_softmax=sampled_softmax,
        )
    return SequenceNetwork(
        preprocessing,
        encoder,
        task.make_head(encoder.output_size),
        embedding=embedding,
        every_step=task.every_step,
        pooling=model.pooling,
        dropout=model.dropout,
    )


def combine(task: Task, networks: Sequence[Network]) -> nn.Module:
    """Combine networks for evaluation and export into their mean with its decision, or return the generator."""
    if task.output == "tokens":
        return networks[0]
    ensemble = Ensemble(networks)
    if task.output == "label":
        return Classifier(ensemble).eval()
    return (TokenClassifier(ensemble) if task.output == "labels" else ensemble).eval()


def _embedding(
    task: Task, settings: Embedding, vocab_size: int, dropout: float, vectors: Tensor | None
) -> TokenEmbedding:
    embedding = TokenEmbedding(
        vocab_size,
        settings.size,
        characters=task.characters,
        character_vocab_size=task.character_vocab_size,
        dropout=dropout,
    )
    if settings.init == "pretrained" and vectors is not None:
        embedding.load_pretrained(vectors, freeze=settings.freeze)
    return embedding


def _dense_options(model: DenseModel) -> dict[str, Any]:
    return model.model_dump(include={"units", "nonlinearity", "dropout"})


def _recurrent_options(model: RecurrentModel) -> dict[str, Any]:
    names = {"bidirectional", "nonlinearity", "initialization", "forget_bias", "layer_norm", "dropout", "tbptt_steps"}
    return {
        "layers": [(layer.cell, layer.units) for layer in model.layers],
        "convolutions": [(one.channels, one.width, one.stride) for one in model.convolutions],
        **model.model_dump(include=names),
    }
