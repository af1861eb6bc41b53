"""A look inside a trained network: attention, reach of gradients, embedding vectors, sampled continuations."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unroll.config.decoding import DecodingConfig
from unroll.domains.task import Task
from unroll.features.random import uniforms
from unroll.features.samples import PROMPT_STEPS, linspace_indices
from unroll.features.special_tokens import EOS, PAD, UNK
from unroll.models.decoding import decode
from unroll.models.embedding import TokenEmbedding
from unroll.models.generators import EncoderDecoder, LanguageModel, Network
from unroll.models.network import SequenceNetwork
from unroll.training.batches import Batches
from unroll.training.prediction import generate

AttentionMap = tuple[list[str], list[str], NDArray[np.floating[Any]]]
"""Source tokens, target tokens, and weights [target, source]."""


def attention_weights(network: EncoderDecoder, task: Task, data: Batches, rows: Sequence[int]) -> list[AttentionMap]:
    """Return the attention weights while the best hypothesis of each row is written."""
    vocabulary = next(iter(task.vocabularies.values()))
    found = []
    for row in rows:
        batch = data.at(torch.tensor([row]))
        tokens = generate(network, task, batch)
        with torch.inference_mode():
            weights = network.attention(batch.inputs, batch.lengths, tokens)[0]
        ids = tokens[0].tolist()
        count = ids.index(EOS) + 1 if EOS in ids else len(ids)
        # Of an image, it attends to places.
        places = [str(place + 1) for place in range(weights.shape[1])]
        source = vocabulary.tokens_of(batch.inputs[0].tolist()) if task.source_vocab_size else places
        found.append((source, vocabulary.tokens_of(ids[:count]), weights[:count].cpu().numpy()))
    return found


def gradient_reach(network: SequenceNetwork, task: Task, data: Batches) -> list[float]:
    """Return the norm of ∂loss/∂(input at a time step) for each step of the prepared input, mean over the samples.

    Where the norm vanishes, the network cannot learn from a step, whatever it holds; where it explodes, the step drowns
    all others.
    """
    network.eval()
    with torch.enable_grad():
        features: Tensor = network.preprocessing.prepare(data.inputs).detach().requires_grad_()
        targets = network.preprocessing.encode_target(data.targets, data.inputs)
        loss = task.loss(network.from_features(features)[0], targets)
        (gradient,) = torch.autograd.grad(loss * len(data), features)
    return [float(norm) for norm in gradient.flatten(2).norm(dim=2).mean(0)]


def embedding_vectors(network: Network) -> NDArray[np.float32] | None:
    """Return the network's token vectors, float32 [vocabulary, size]; None if it reads no tokens."""
    embedding = network.decoder.embedding if isinstance(network, EncoderDecoder) else network.embedding
    return embedding.tokens.weight.detach().cpu().numpy() if isinstance(embedding, TokenEmbedding) else None


def prompt_rows(data: Batches, count: int) -> list[int]:
    """Return evenly spaced rows whose first PROMPT_STEPS tokens contain no end, no padding and no unknown token."""
    first = data.inputs[:, :PROMPT_STEPS]
    whole = ((first != EOS) & (first != PAD) & (first != UNK)).all(1).nonzero().flatten()
    return [int(whole[position]) for position in linspace_indices(len(whole), count)] if len(whole) else []


def continuations(network: LanguageModel, task: Task, data: Batches, rows: Sequence[int]) -> list[list[int]]:
    """Return the first tokens of each row and the tokens that a language model samples after them.

    The positions of the rows determine, together with the seed, what is sampled.
    """
    decoding = task.decoding or DecodingConfig()
    prompts = data.inputs[torch.tensor(rows)][:, :PROMPT_STEPS]
    sampled, _ = decode(
        network,
        prompts,
        max_length=decoding.max_length,
        temperature=decoding.temperature or 1.0,
        top_k=decoding.top_k,
        uniforms=torch.from_numpy(uniforms(decoding.seed, list(rows), 1, decoding.max_length)),
    )
    return [[*prompt.tolist(), *tokens[0].tolist()] for prompt, tokens in zip(prompts, sampled, strict=True)]
