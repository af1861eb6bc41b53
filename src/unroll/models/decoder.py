"""The part of a network that writes, token by token."""

import torch
from torch import Tensor, nn

from unroll.models.attention import AdditiveAttention, Memory
from unroll.models.embedding import TokenEmbedding
from unroll.models.recurrent import RecurrentLayer, State, initialize


class Decoder(nn.Module):
    """One recurrent layer over the tokens written so far, with or without attention, and tied output weights.

    With attention each step first looks at the encoder's outputs with the state before it, then reads the last token
    and what it saw, and the next token is told from state, context and last token.

    Args:
        cell: `rnn`, `gru` or `lstm`.
        units: Size of the state.
        embedding: Of the tokens that are written.
        encoding_size: Features of the encoder's single vector, which the first state is made of.
        value_size: Features of each of the encoder's outputs; 0 for no attention.
        dropout: Share of features dropped before the output.

    Source: Sutskever, Vinyals & Le 2014 (arXiv 1409.3215); Bahdanau, Cho & Bengio 2015 (arXiv 1409.0473), appendix A.2;
    Press & Wolf 2017 (arXiv 1608.05859, tied weights).
    """

    def __init__(
        self,
        cell: str,
        units: int,
        embedding: TokenEmbedding,
        encoding_size: int,
        *,
        value_size: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        size = embedding.output_size
        states = 2 if cell == "lstm" else 1
        self.bridge = nn.Linear(encoding_size, states * units)
        self.layer = RecurrentLayer(cell, size + value_size, units)
        initialize(self.layer, "orthogonal", 1.0)
        self.attention = AdditiveAttention(units, value_size, units) if value_size else None
        self.readout = nn.Linear(units + value_size + size, size)
        self.dropout = nn.Dropout(dropout)
        self.bias = nn.Parameter(torch.zeros(embedding.tokens.num_embeddings))

    def start(self, encoding: Tensor) -> State:
        """The state before the first token: float32 [batch, encoding_size] → each float32 [batch, unit]."""
        hidden, *memory = self.bridge(encoding).split(self.layer.units, -1)
        # A hidden state lies between −1 and 1, an LSTM's cell state need not. cuDNN wants it without gaps.
        return (torch.tanh(hidden), *(part.contiguous() for part in memory))

    def forward(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, Tensor]:
        """Teacher forcing: each step reads the true token before it.

        Args:
            tokens: int64 [batch, time], beginning with `<bos>`.
            state: Of `start`.
            memory: Of the attention; () without.

        Returns:
            Logits float32 [batch, time, vocabulary], and attention weights float32 [batch, time, source] (with no
            source step where there is no attention).
        """
        embedded = self.embedding(tokens)
        if self.attention is None:
            outputs, _ = self.layer(embedded, None, tuple(part.unsqueeze(0) for part in state))
            return self._logits(outputs, embedded), embedded.new_zeros((*tokens.shape, 0))
        weight, bias = self.layer.input_parameters
        # The tokens' share of the gates is computed for all steps at once.
        of_tokens = nn.functional.linear(embedded, weight[:, : embedded.shape[-1]], bias)
        of_context = weight[:, embedded.shape[-1] :]
        # Taken apart once: a slice a step would fill a gradient of the whole with zeros at each of them.
        shares = of_tokens.unsqueeze(2).unbind(1)
        outputs, contexts, looks = [], [], []
        state = tuple(part.unsqueeze(1) for part in state)
        for share in shares:
            context, weights = self.attention(state[0], memory)
            from_input = share + nn.functional.linear(context, of_context)
            output, state = self.layer.step_from(from_input, state)
            outputs.append(output)
            contexts.append(context)
            looks.append(weights)
        seen = torch.cat([torch.cat(outputs, 1), torch.cat(contexts, 1)], -1)
        return self._logits(seen, embedded), torch.cat(looks, 1)

    def step(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        """One token further, for every hypothesis.

        Args:
            tokens: The last token of each, int64 [batch, beam].
            state: Each float32 [batch, beam, unit].
            memory: Of the attention; () without.

        Returns:
            Logits float32 [batch, beam, vocabulary] and the state after it.
        """
        embedded = self.embedding(tokens)
        if self.attention is None:
            output, state = self.layer.step(embedded, state)
            return self._logits(output, embedded), state
        context, _ = self.attention(state[0], memory)
        output, state = self.layer.step(torch.cat([embedded, context], -1), state)
        return self._logits(torch.cat([output, context], -1), embedded), state

    def _logits(self, seen: Tensor, embedded: Tensor) -> Tensor:
        read = torch.tanh(self.readout(torch.cat([seen, embedded], -1)))
        return nn.functional.linear(self.dropout(read), self.embedding.tokens.weight, self.bias)
