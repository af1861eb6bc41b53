"""What a trained network shows of itself: attention, embedding vectors, sampled continuations."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unroll.config.decoding import DecodingConfig
from unroll.domains.task import Task
from unroll.features.random import uniforms
from unroll.features.samples import PROMPT_STEPS, linspace_indices
from unroll.features.special_tokens import EOS, PAD, UNK
from unroll.models.decoding import decode
from unroll.models.embedding import TokenEmbedding
from unroll.models.generators import EncoderDecoder, LanguageModel, Network
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
        source = vocabulary.tokens_of(batch.inputs[0].tolist())
        found.append((source, vocabulary.tokens_of(ids[:count]), weights[:count].cpu().numpy()))
    return found


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

    Args:
        network: In evaluation mode.
        task: Its decoding settings are used.
        data: A split.
        rows: Positions; together with the seed they determine what is sampled.
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
