"""The decoder of an encoder-decoder network."""

import torch
from torch import Tensor, nn

from unroll.models.attention import AdditiveAttention, DotAttention, Memory
from unroll.models.cells import State
from unroll.models.embedding import TokenEmbedding
from unroll.models.initialization import initialize
from unroll.models.recurrent import RecurrentLayer


class Decoder(nn.Module):
    """One recurrent layer over the tokens so far, with or without attention, and tied output weights.

    With additive attention, each step first attends with the previous hidden state, then reads the last token and the
    context. With dot attention, it attends with the new hidden state, so that in training all steps attend at once. The
    next token is predicted from hidden state, context and last token.

    Args:
        cell: `rnn`, `gru` or `lstm`.
        units: Size of the hidden state.
        embedding: Embedding of the target tokens.
        encoding_size: Size of the vector that the initial state is made from.
        attention: `none`, `additive` or `dot`.
        value_size: Features of each of the encoder's outputs, for attention.
        dropout: Share of features dropped before the output.

    Source: Sutskever, Vinyals & Le 2014 (arXiv 1409.3215); Bahdanau, Cho & Bengio 2015 (arXiv 1409.0473), appendix A.2;
    Luong, Pham & Manning 2015 (arXiv 1508.04025, dot); Press & Wolf 2017 (arXiv 1608.05859, tied weights).
    """

    def __init__(
        self,
        cell: str,
        units: int,
        embedding: TokenEmbedding,
        encoding_size: int,
        *,
        attention: str = "none",
        value_size: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        value_size = 0 if attention == "none" else value_size
        self.embedding = embedding
        size = embedding.output_size
        self.layer = RecurrentLayer(cell, size + value_size if attention == "additive" else size, units)
        self.bridge = nn.Linear(encoding_size, self.layer.states * units)
        initialize(self.layer, "orthogonal", 1.0)
        self.attention: AdditiveAttention | DotAttention | None = None
        if attention == "additive":
            self.attention = AdditiveAttention(units, value_size, units)
        elif attention == "dot":
            self.attention = DotAttention(units, value_size)
        self.readout = nn.Linear(units + value_size + size, size)
        self.dropout = nn.Dropout(dropout)
        self.bias = nn.Parameter(torch.zeros(embedding.tokens.num_embeddings))

    def initial_state(self, encoding: Tensor) -> State:
        """Make the state before the first token, tensors float32 [batch, unit], from float32 [batch, encoding_size]."""
        hidden, *cell_state = self.bridge(encoding).split(self.layer.units, -1)
        # A hidden state is between −1 and 1, a cell state need not be. cuDNN needs contiguous tensors.
        return (torch.tanh(hidden), *(part.contiguous() for part in cell_state))

    def forward(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, Tensor]:
        """Predict each next token with teacher forcing.

        Args:
            tokens: int64 [batch, time], beginning with `<bos>`.
            state: From `initial_state`.
            memory: What the attention reads; () without attention.

        Returns:
            What the logits are made from, float32 [batch, time, embedding size], and attention weights float32 [batch,
            time, source] (of size 0 along source without attention).
        """
        embedded = self.embedding(tokens)
        if isinstance(self.attention, AdditiveAttention):
            return self._feeding_contexts(self.attention, embedded, state, memory)
        outputs, _ = self.layer(embedded, None, tuple(part.unsqueeze(0) for part in state))
        if self.attention is None:
            return self._read_out(outputs, embedded), embedded.new_zeros((*tokens.shape, 0))
        context, weights = self.attention(outputs, memory)
        return self._read_out(torch.cat([outputs, context], -1), embedded), weights

    def _feeding_contexts(
        self, attention: AdditiveAttention, embedded: Tensor, state: State, memory: Memory
    ) -> tuple[Tensor, Tensor]:
        """Do the same as `forward`, step by step: each step reads the context of the previous hidden state."""
        weight, bias = self.layer.input_parameters
        # The tokens' share of the gates is computed for all steps at once, and unbound once: slicing it in each step
        # would fill a gradient of the whole with zeros each time.
        from_tokens = nn.functional.linear(embedded, weight[:, : embedded.shape[-1]], bias).unsqueeze(2).unbind(1)
        context_weight = weight[:, embedded.shape[-1] :]
        outputs, contexts, all_weights = [], [], []
        state = tuple(part.unsqueeze(1) for part in state)
        for from_token in from_tokens:
            context, weights = attention(state[0], memory)
            state = self.layer.step_from(from_token + nn.functional.linear(context, context_weight), state)
            outputs.append(state[0])
            contexts.append(context)
            all_weights.append(weights)
        features = torch.cat([torch.cat(outputs, 1), torch.cat(contexts, 1)], -1)
        return self._read_out(features, embedded), torch.cat(all_weights, 1)

    def step(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        """Predict the next token of every hypothesis.

        Args:
            tokens: The last token of each, int64 [batch, beam].
            state: Each tensor float32 [batch, beam, unit].
            memory: What the attention reads; () without attention.

        Returns:
            Logits float32 [batch, beam, vocabulary] and the new state.
        """
        embedded = self.embedding(tokens)
        if self.attention is None:
            state = self.layer.step(embedded, state)
            return self.logits(self._read_out(state[0], embedded)), state
        if isinstance(self.attention, AdditiveAttention):
            context, _ = self.attention(state[0], memory)
            state = self.layer.step(torch.cat([embedded, context], -1), state)
        else:
            state = self.layer.step(embedded, state)
            context, _ = self.attention(state[0], memory)
        return self.logits(self._read_out(torch.cat([state[0], context], -1), embedded)), state

    @property
    def weight(self) -> Tensor:
        """Output weights, float32 [vocabulary, embedding size]."""
        return self.embedding.tokens.weight

    def logits(self, hidden: Tensor) -> Tensor:
        """Return logits float32 [..., vocabulary] for float32 [..., embedding size]."""
        return nn.functional.linear(hidden, self.weight, self.bias)

    def _read_out(self, features: Tensor, embedded: Tensor) -> Tensor:
        hidden: Tensor = self.dropout(torch.tanh(self.readout(torch.cat([features, embedded], -1))))
        return hidden
