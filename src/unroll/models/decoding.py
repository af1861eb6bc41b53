"""Searching for, or drawing, what a generator writes.

One step is a module over all hypotheses of a batch; `decode` runs it in a loop, and `unroll.export.decoding` puts the
same module into a loop of the ONNX graph.
"""

import torch
from torch import Tensor, nn

from unroll.features.special_tokens import BOS, EOS, PAD, UNK
from unroll.models.attention import Memory
from unroll.models.generators import Generator
from unroll.models.recurrent import State

_NEVER = -1e9
"""Log probability of what must not be written; finite, so that no difference of two is undefined."""

Hypotheses = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""last int64, total float32, length int64, finished bool, each [batch, beam], and tokens int64 [batch, beam, step]."""


class Start(nn.Module):
    """Reads the inputs and gives the first hypotheses."""

    def __init__(self, network: Generator) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, lengths: Tensor | None, ranks: Tensor) -> tuple[Hypotheses, State, Memory]:
        """Hypotheses without a token yet; see `LanguageModel.start` for the arguments.

        In a search the first alone counts at the start, or all would find the same.
        """
        last, state, memory = self.network.start(inputs, lengths, ranks)
        nothing = torch.zeros_like(last)
        total = torch.where(ranks == 0, 0.0, _NEVER).to(state[0].dtype).expand(last.shape[0], -1)
        tokens = last.unsqueeze(-1)[:, :, :0]
        return (last, total, nothing, nothing > 0, tokens), state, memory


class GreedyStep(nn.Module):
    """Lengthens every hypothesis by its likeliest token: a search with one beam, where there is nothing to rank."""

    def __init__(self, network: Generator) -> None:
        super().__init__()
        self.network = network

    def forward(self, hypotheses: Hypotheses, state: State, memory: Memory) -> tuple[Hypotheses, State]:
        """One step."""
        scores, state = _scores(self.network, hypotheses[0], state, memory)
        return _lengthened(hypotheses, scores, scores.argmax(-1)), state


class BeamStep(nn.Module):
    """Lengthens every hypothesis by each token and keeps the best.

    Hypotheses are compared by log probability / length^length_penalty. A finished one stays as it is.
    """

    def __init__(self, network: Generator) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, hypotheses: Hypotheses, state: State, memory: Memory, length_penalty: Tensor
    ) -> tuple[Hypotheses, State]:
        """One step: as many hypotheses as before, best first."""
        last, total, length, finished, tokens = hypotheses
        beams = last.shape[1]
        scores, state = _scores(self.network, last, state, memory)
        vocabulary = scores.shape[-1]
        # What is finished goes on with padding, at no cost, and in this way alone.
        only_padding = torch.where(torch.arange(vocabulary, device=scores.device) == PAD, 0.0, _NEVER)
        scores = torch.where(finished.unsqueeze(-1), only_padding, scores)
        new_length = torch.where(finished, length, length + 1)
        totals = total.unsqueeze(-1) + scores
        ranking = totals / new_length.unsqueeze(-1).to(totals.dtype).pow(length_penalty)
        # What must not be written stays last, however much the length counts for.
        ranking = torch.where(totals < _NEVER / 2, _NEVER, ranking)
        best = ranking.flatten(1).topk(beams, dim=1).indices  # [batch, beam]
        parent, token = best // vocabulary, best % vocabulary
        kept = tuple(_follow(part, parent) for part in state)
        sequences = torch.cat([_follow(tokens, parent), token.unsqueeze(-1)], -1)
        hypotheses = (
            token,
            totals.flatten(1).gather(1, best),
            new_length.gather(1, parent),
            finished.gather(1, parent) | (token == EOS),
            sequences,
        )
        return hypotheses, kept


class SampleStep(nn.Module):
    """Draws the next token of every sequence."""

    def __init__(self, network: Generator) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        hypotheses: Hypotheses,
        state: State,
        memory: Memory,
        temperature: Tensor,
        top_k: Tensor,
        uniform: Tensor,
    ) -> tuple[Hypotheses, State]:
        """One step.

        Args:
            hypotheses: Of the step before.
            state: Of the step before.
            memory: Of the start.
            temperature: float32 []; below 1 the likely tokens are drawn more often.
            top_k: int64 []; so many of the likeliest tokens are drawn from, 0 for all.
            uniform: float32 [batch, beam] in [0, 1): the token is the one in whose share of the distribution it falls,
                so equal numbers draw equal tokens everywhere.
        """
        scores, state = _scores(self.network, hypotheses[0], state, memory)
        vocabulary = scores.shape[-1]
        place = torch.where((top_k <= 0) | (top_k > vocabulary), vocabulary, top_k) - 1
        ranked = scores.sort(-1, descending=True).values
        least = ranked.index_select(-1, place.reshape(1))
        scaled = torch.where(scores >= least, scores / temperature, _NEVER)
        shares = scaled.softmax(-1).cumsum(-1)
        drawn = (shares <= uniform.unsqueeze(-1) * shares[:, :, -1:]).sum(-1).clamp_max(vocabulary - 1)
        return _lengthened(hypotheses, scores, drawn), state


def ranked_scores(hypotheses: Hypotheses, length_penalty: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens int64 [batch, beam, step] and log probability / length^length_penalty float32 [batch, beam]."""
    _, total, length, _, tokens = hypotheses
    return tokens, total / length.clamp_min(1).to(total.dtype).pow(length_penalty)


@torch.inference_mode()
def decode(
    network: Generator,
    inputs: Tensor,
    lengths: Tensor | None = None,
    *,
    max_length: int,
    beams: int = 1,
    length_penalty: float = 1.0,
    temperature: float = 0.0,
    top_k: int = 0,
    uniforms: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Writes: by search, or by chance where the temperature is above 0.

    Args:
        network: In evaluation mode.
        inputs: Raw, [batch, time, …].
        lengths: int64 [batch]; None where no input is padded.
        max_length: Tokens at most.
        beams: Hypotheses that are followed, or sequences that are drawn; 1 decodes greedily.
        length_penalty: A hypothesis counts by log probability / length^length_penalty.
        temperature: 0 searches.
        top_k: Draw from so many of the likeliest tokens; 0 for all.
        uniforms: Where something is drawn: float32 [batch, beam, max_length] in [0, 1).

    Returns:
        Tokens int64 [batch, beam, step], best first where they were searched for, padded with 0 after `<eos>`; and
        scores float32 [batch, beam].
    """
    ranks = torch.arange(beams, device=inputs.device)
    hypotheses, state, memory = Start(network)(inputs, lengths, ranks)
    if temperature > 0:
        if uniforms is None:
            raise ValueError("a temperature above 0 needs uniforms to draw with")
        # Every sequence counts from the start.
        hypotheses = (hypotheses[0], torch.zeros_like(hypotheses[1]), *hypotheses[2:])
    greedy, search, draw = GreedyStep(network), BeamStep(network), SampleStep(network)
    penalty = torch.tensor(length_penalty, device=inputs.device)
    for step in range(max_length):
        if uniforms is not None and temperature > 0:
            hypotheses, state = draw(
                hypotheses,
                state,
                memory,
                torch.tensor(temperature, device=inputs.device),
                torch.tensor(top_k, device=inputs.device),
                uniforms[:, :, step],
            )
        elif beams == 1:
            hypotheses, state = greedy(hypotheses, state, memory)
        else:
            hypotheses, state = search(hypotheses, state, memory, penalty)
        if bool(hypotheses[3].all()):
            break
    return ranked_scores(hypotheses, penalty)


def _scores(network: Generator, last: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
    """Log probabilities of the next token, but for those that are never to be written; and the new state."""
    logits, state = network.step(last, state, memory)
    numbers = torch.arange(logits.shape[-1], device=logits.device)
    never = (numbers == PAD) | (numbers == UNK) | (numbers == BOS)
    return logits.log_softmax(-1) + torch.where(never, _NEVER, 0.0), state


def _lengthened(hypotheses: Hypotheses, scores: Tensor, chosen: Tensor) -> Hypotheses:
    """Each hypothesis with its next token, int64 [batch, beam]; a finished one with padding, at no cost."""
    _, total, length, finished, tokens = hypotheses
    token = torch.where(finished, PAD, chosen)
    gained = scores.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)
    return (
        token,
        torch.where(finished, total, total + gained),
        torch.where(finished, length, length + 1),
        finished | (token == EOS),
        torch.cat([tokens, token.unsqueeze(-1)], -1),
    )


def _follow(part: Tensor, parent: Tensor) -> Tensor:
    """[batch, beam, …] in the order of the hypotheses that go on, int64 [batch, beam]."""
    return part.gather(1, parent.unsqueeze(-1).expand(-1, -1, part.shape[-1]))
