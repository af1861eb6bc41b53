"""The decoder of an encoder-decoder network."""

import torch
from torch import Tensor, nn

from unroll.models.attention import AdditiveAttention, DotAttention, Memory
from unroll.models.cells import State
from unroll.models.embedding import TokenEmbedding
from unroll.models.initialization import initialize
from unroll.models.recurrent import RecurrentLayer

TABLE_SIZE = 2**24
"""Maximum number of float32 numbers, 64 MiB, that a loaded graph keeps to look up what it makes of a token."""


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

    def step_memory(self, memory: Memory) -> Memory:
        """Return the memory of `step`, whose values are already mapped to their shares of gates and readout.

        The weighted mean of the mapped values is the mapped context, so steps have no context to map.
        """
        if not memory:
            return ()
        values, *others = memory
        units, size = self.layer.units, self.embedding.output_size
        shares = [self.readout.weight[:, units:-size]]
        if isinstance(self.attention, AdditiveAttention):
            shares.insert(0, self.layer.input_parameters[0][:, size:])
        return nn.functional.linear(values, torch.cat(shares)), *others

    def step(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        """Predict the next token of every row: batch × beam, the beams of a sample one after another.

        Args:
            tokens: The last token of each, int64 [row].
            state: Each tensor float32 [row, unit].
            memory: From `step_memory`.

        Returns:
            Logits float32 [row, vocabulary] and the new state.
        """
        sizes = (self.layer.input_parameters[1].shape[0], self.embedding.output_size)
        gates, read_out = self._from_tokens(tokens).split(sizes, -1)
        if isinstance(self.attention, AdditiveAttention):
            context_gates, context_read_out = self._from_context(self.attention, state[0], memory).split(sizes, -1)
            gates, read_out = gates + context_gates, read_out + context_read_out
        state = self.layer.step_from(gates, state)
        if isinstance(self.attention, DotAttention):
            read_out = read_out + self._from_context(self.attention, state[0], memory)
        hidden = nn.functional.linear(state[0], self.readout.weight[:, : self.layer.units])
        return self.logits(torch.tanh(hidden + read_out)), state

    def _from_tokens(self, tokens: Tensor) -> Tensor:
        """Return the last tokens' shares of gates and readout, float32 [row, gate × unit + embedding size]."""
        weight, bias = self.layer.input_parameters
        size = self.embedding.output_size
        weight = torch.cat([weight[:, :size], self.readout.weight[:, -size:]])
        bias = torch.cat([bias, self.readout.bias])
        if torch.compiler.is_exporting() and self.weight.shape[0] * len(bias) <= TABLE_SIZE:
            # A table for all tokens: being constant, it is computed when the graph is loaded, and not stored.
            return nn.functional.embedding(tokens, nn.functional.linear(self.weight, weight, bias))
        return nn.functional.linear(self.embedding(tokens), weight, bias)

    def _from_context(self, attention: AdditiveAttention | DotAttention, query: Tensor, memory: Memory) -> Tensor:
        """Attend with float32 [row, unit]; return the context's shares, float32 [row, share]."""
        shares, _ = attention(query.unflatten(0, (memory[0].shape[0], -1)), memory)
        flat: Tensor = shares.flatten(0, 1)
        return flat

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
