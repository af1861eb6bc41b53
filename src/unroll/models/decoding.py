"""Beam search, greedy decoding and sampling with a generator.

One step is a module over all hypotheses of a batch; `decode` runs it in a loop, and `unroll.export.decoding` puts the
same module into a loop of the ONNX graph.
"""

import torch
from torch import Tensor, nn

from unroll.features.special_tokens import BOS, EOS, PAD, UNK
from unroll.models.attention import Memory
from unroll.models.cells import State
from unroll.models.generators import Generator

_IMPOSSIBLE = -1e9
"""Log probability of a token that must not be written; finite, so that differences stay defined."""

Hypotheses = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""last int64, total float32, length int64, finished bool, each [batch, beam], and tokens int64 [batch, beam, step]."""


class Start(nn.Module):
    """Reads the inputs and returns the initial hypotheses."""

    def __init__(self, network: Generator) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, lengths: Tensor | None, ranks: Tensor) -> tuple[Hypotheses, State, Memory]:
        """Return hypotheses without a token yet; see `LanguageModel.start` for the arguments.

        For a search, only the first hypothesis has a finite score: otherwise all would find the same text.
        """
        last, state, memory = self.network.start(inputs, lengths, ranks)
        zeros = torch.zeros_like(last)
        total = torch.where(ranks == 0, 0.0, _IMPOSSIBLE).to(state[0].dtype).expand(last.shape[0], -1)
        tokens = last.unsqueeze(-1)[:, :, :0]
        return (last, total, zeros, zeros > 0, tokens), state, memory


class GreedyStep(nn.Module):
    """Writes the likeliest next token of every row: a search with one beam, where there is nothing to rank.

    A row that has ended is continued all the same; `GreedyEnd` drops what is written then.
    """

    def __init__(self, network: Generator) -> None:
        super().__init__()
        self.network = network

    def forward(self, last: Tensor, state: State, memory: Memory) -> tuple[Tensor, Tensor, State]:
        """Take one step: last tokens int64 [row] → next tokens int64 [row], their probabilities, and the new state."""
        logits, state = self.network.step(last, state, memory)
        # One pass for the softmax's denominator, which all tokens are part of, and one for those that may be written.
        probabilities = logits.softmax(-1)
        probability, token = (probabilities * torch.where(_never(logits), 0.0, 1.0)).topk(1)
        return token.squeeze(1), probability.squeeze(1), state


class GreedyEnd(nn.Module):
    """Makes hypotheses of what greedy decoding wrote."""

    def forward(self, written: Tensor, probabilities: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Replace by padding what was written after `<eos>`.

        Args:
            written: int64 [step, row].
            probabilities: Of each token, float32 [step, row].

        Returns:
            Tokens int64 [row, step], their total log probability float32 [row], and their number int64 [row].
        """
        ends = (written == EOS).to(torch.int64)
        after = ends.cumsum(0) > ends
        tokens = torch.where(after, PAD, written)
        total = torch.where(after, 0.0, probabilities.log()).sum(0)
        return tokens.T, total, (~after).sum(0)


class BeamStep(nn.Module):
    """Extends every hypothesis by each token and keeps the best.

    Hypotheses are ranked by log probability / length ^ length_penalty. A finished one stays as it is.
    """

    def __init__(self, network: Generator) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, hypotheses: Hypotheses, state: State, memory: Memory, length_penalty: Tensor
    ) -> tuple[Hypotheses, State]:
        """Take one step; return as many hypotheses as before, best first."""
        last, total, length, finished, tokens = hypotheses
        beams = last.shape[1]
        scores, state = _scores(self.network, last, state, memory)
        vocabulary = scores.shape[-1]
        # A finished hypothesis can only be continued with padding, at no cost.
        only_padding = torch.where(torch.arange(vocabulary, device=scores.device) == PAD, 0.0, _IMPOSSIBLE)
        scores = torch.where(finished.unsqueeze(-1), only_padding, scores)
        new_length = torch.where(finished, length, length + 1)
        totals = total.unsqueeze(-1) + scores
        ranking = totals / new_length.unsqueeze(-1).to(totals.dtype).pow(length_penalty)
        # Impossible tokens stay last, whatever the length penalty.
        ranking = torch.where(totals < _IMPOSSIBLE / 2, _IMPOSSIBLE, ranking)
        best = ranking.flatten(1).topk(beams, dim=1).indices  # [batch, beam]
        parent, token = best // vocabulary, best % vocabulary
        kept = tuple(_select(part, parent) for part in state)
        sequences = torch.cat([_select(tokens, parent), token.unsqueeze(-1)], -1)
        hypotheses = (
            token,
            totals.flatten(1).gather(1, best),
            new_length.gather(1, parent),
            finished.gather(1, parent) | (token == EOS),
            sequences,
        )
        return hypotheses, kept


class SampleStep(nn.Module):
    """Samples the next token of every sequence."""

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
        """Take one step.

        Args:
            hypotheses: Hypotheses after the previous step.
            state: State after the previous step.
            memory: From the start.
            temperature: float32 []; below 1 likely tokens are sampled more often.
            top_k: int64 []; sample from the k likeliest tokens, 0 for all.
            uniform: float32 [batch, beam] in [0, 1). The token is the one in whose interval of the cumulative
                distribution it falls, so equal numbers sample equal tokens in torch and in ONNX.
        """
        scores, state = _scores(self.network, hypotheses[0], state, memory)
        vocabulary = scores.shape[-1]
        rank = torch.where((top_k <= 0) | (top_k > vocabulary), vocabulary, top_k) - 1
        threshold = scores.sort(-1, descending=True).values.index_select(-1, rank.reshape(1))
        scaled = torch.where(scores >= threshold, scores / temperature, _IMPOSSIBLE)
        cumulative = scaled.softmax(-1).cumsum(-1)
        sampled = (cumulative <= uniform.unsqueeze(-1) * cumulative[:, :, -1:]).sum(-1).clamp_max(vocabulary - 1)
        return _append(hypotheses, scores, sampled), state


def ranked_scores(hypotheses: Hypotheses, length_penalty: Tensor) -> tuple[Tensor, Tensor]:
    """Return tokens int64 [batch, beam, step] and log probability / length ^ length_penalty float32 [batch, beam]."""
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
    """Generate tokens by search, or by sampling if the temperature is above 0.

    Args:
        network: In evaluation mode.
        inputs: Raw, [batch, time, …].
        lengths: int64 [batch]; None where no input is padded.
        max_length: Maximum number of tokens.
        beams: Hypotheses of the search, or sequences to sample; 1 decodes greedily.
        length_penalty: Hypotheses are ranked by log probability / length ^ length_penalty.
        temperature: 0 searches; a value above 0 samples.
        top_k: Sample from the k likeliest tokens; 0 for all.
        uniforms: For sampling, float32 [batch, beam, max_length] in [0, 1).

    Returns:
        Tokens int64 [batch, beam, step], padded after `<eos>`, best first after a search; and scores float32
        [batch, beam].
    """
    ranks = torch.arange(beams, device=inputs.device)
    hypotheses, state, memory = Start(network)(inputs, lengths, ranks)
    penalty, heat, k = (torch.tensor(one, device=inputs.device) for one in (length_penalty, temperature, top_k))
    if temperature > 0:
        if uniforms is None:
            raise ValueError("a temperature above 0 needs uniforms to sample with")
        hypotheses = (hypotheses[0], torch.zeros_like(hypotheses[1]), *hypotheses[2:])
    elif beams == 1:
        return ranked_scores(_decode_greedily(network, hypotheses, state, memory, max_length), penalty)
    search, sample = BeamStep(network), SampleStep(network)
    for step in range(max_length):
        if uniforms is not None and temperature > 0:
            hypotheses, state = sample(hypotheses, state, memory, heat, k, uniforms[:, :, step])
        else:
            hypotheses, state = search(hypotheses, state, memory, penalty)
        if bool(hypotheses[3].all()):
            break
    return ranked_scores(hypotheses, penalty)


def _decode_greedily(
    network: Generator, hypotheses: Hypotheses, state: State, memory: Memory, max_length: int
) -> Hypotheses:
    last, finished = hypotheses[0].flatten(), hypotheses[3].flatten()
    state = tuple(part.flatten(0, 1) for part in state)
    step, written, probabilities = GreedyStep(network), [], []
    for _ in range(max_length):
        last, probability, state = step(last, state, memory)
        written.append(last)
        probabilities.append(probability)
        finished = finished | (last == EOS)
        if bool(finished.all()):
            break
    tokens, total, length = GreedyEnd()(torch.stack(written), torch.stack(probabilities))
    return last.unsqueeze(1), total.unsqueeze(1), length.unsqueeze(1), finished.unsqueeze(1), tokens.unsqueeze(1)


def _never(logits: Tensor) -> Tensor:
    """Return which tokens must not be written, as bool [vocabulary]."""
    numbers = torch.arange(logits.shape[-1], device=logits.device)
    return (numbers == PAD) | (numbers == UNK) | (numbers == BOS)


def _scores(network: Generator, last: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
    """Return log probabilities of each hypothesis' next token, without those never written; and the new state."""
    logits, state = network.step(last.flatten(), tuple(part.flatten(0, 1) for part in state), memory)
    scores = logits.log_softmax(-1) + torch.where(_never(logits), _IMPOSSIBLE, 0.0)
    return scores.unflatten(0, last.shape), tuple(part.unflatten(0, last.shape) for part in state)


def _append(hypotheses: Hypotheses, scores: Tensor, chosen: Tensor) -> Hypotheses:
    """Append int64 [batch, beam] to each hypothesis; to a finished one padding, at no cost."""
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


def _select(part: Tensor, parent: Tensor) -> Tensor:
    """Reorder [batch, beam, …] by the hypothesis that each one continues, int64 [batch, beam]."""
    return part.gather(1, parent.unsqueeze(-1).expand(-1, -1, part.shape[-1]))
