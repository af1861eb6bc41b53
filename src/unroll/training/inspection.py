"""What a trained network shows of itself: what it looks at, what its vectors are near to, what it writes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unroll.config.decoding import DecodingConfig
from unroll.domains.task import Task
from unroll.features.random import uniforms
from unroll.features.samples import linspace_indices
from unroll.features.special_tokens import EOS, PAD, UNK
from unroll.models.decoding import decode
from unroll.models.embedding import TokenEmbedding
from unroll.models.generators import EncoderDecoder, Generator, LanguageModel
from unroll.training.batches import Batches
from unroll.training.loop import Network
from unroll.training.members import written

PROMPT_STEPS = 5
"""Tokens that a language model goes on with: of a tune `<bos>`, meter, key, unit note length and first note."""
Look = tuple[list[str], list[str], NDArray[np.floating[Any]]]
"""Source tokens, written tokens, and weights [written, source]."""


def looks(network: EncoderDecoder, task: Task, data: Batches, rows: Sequence[int]) -> list[Look]:
    """What a decoder with attention looked at while it wrote the best hypothesis of each row."""
    vocabulary = next(iter(task.vocabularies.values()))
    found = []
    for row in rows:
        batch = data.at(torch.tensor([row]))
        tokens = written(network, task, batch)
        with torch.inference_mode():
            weights = network.attention(batch.inputs, batch.lengths, tokens)[0]
        ids = tokens[0].tolist()
        count = ids.index(EOS) + 1 if EOS in ids else len(ids)
        source = vocabulary.tokens_of(batch.inputs[0].tolist())
        found.append((source, vocabulary.tokens_of(ids[:count]), weights[:count].cpu().numpy()))
    return found


def vectors(network: Network) -> NDArray[np.float32] | None:
    """The vectors of its tokens, float32 [vocabulary, size]; None where it has none."""
    embedding = network.decoder.embedding if isinstance(network, EncoderDecoder) else network.embedding
    return embedding.tokens.weight.detach().cpu().numpy() if isinstance(embedding, TokenEmbedding) else None


def prompts(data: Batches, count: int) -> list[int]:
    """Return `count` rows, evenly spaced, whose first tokens make a prompt: no text's end, padding or unknown token."""
    first = data.inputs[:, :PROMPT_STEPS]
    whole = ((first != EOS) & (first != PAD) & (first != UNK)).all(1).nonzero().flatten()
    return [int(whole[place]) for place in linspace_indices(len(whole), count)] if len(whole) else []


def continuations(network: LanguageModel, task: Task, data: Batches, rows: Sequence[int]) -> list[list[int]]:
    """What a language model draws after the first tokens of some rows: the prompt's tokens, then those drawn.

    Args:
        network: In evaluation mode.
        task: Says temperature and length.
        data: Whose first tokens are gone on with.
        rows: Positions; each also seeds its chance.
    """
    decoding = task.decoding or DecodingConfig()
    begun = data.inputs[torch.tensor(rows)][:, :PROMPT_STEPS]
    chance = uniforms(0, list(rows), 1, decoding.max_length)
    tokens = _draw(network, begun, decoding, chance)
    return [[*prompt.tolist(), *new[0].tolist()] for prompt, new in zip(begun, tokens, strict=True)]


def _draw(
    network: Generator, prompts: torch.Tensor, decoding: DecodingConfig, chance: NDArray[np.float32]
) -> torch.Tensor:
    tokens, _ = decode(
        network,
        prompts,
        max_length=decoding.max_length,
        temperature=decoding.temperature or 1.0,
        top_k=decoding.top_k,
        uniforms=torch.from_numpy(chance),
    )
    return tokens
