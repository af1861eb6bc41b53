"""The part of a network that writes, token by token."""

import torch
from torch import Tensor, nn

from unroll.models.attention import AdditiveAttention, Memory
from unroll.models.embedding import TokenEmbedding
from unroll.models.heads import token_loss
from unroll.models.products import RepeatedProduct
from unroll.models.recurrent import RecurrentLayer, State, initialise


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
        initialise(self.layer, "orthogonal", 1.0)
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
            tokens: int64 [batch, time], beginning with `<go>`.
            state: Of `start`.
            memory: Of the attention; () without.

        Returns:
            Logits float32 [batch, time, vocabulary], and attention weights float32 [batch, time, source] (with no
            source step where there is no attention).
        """
        features, looks = self._features(tokens, state, memory)
        return self._logits(features), looks

    def loss(self, tokens: Tensor, targets: Tensor, state: State, memory: Memory) -> Tensor:
        """Mean cross-entropy of `forward`'s logits for targets int64 [batch, time], in nats."""
        features, _ = self._features(tokens, state, memory)
        return token_loss(features, targets, self.embedding.tokens.weight, self.bias)

    def _features(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, Tensor]:
        """As `forward`, with what logits are told from, float32 [batch, time, size], in their place."""
        embedded = self.embedding(tokens)
        if self.attention is None:
            outputs, _ = self.layer(embedded, None, tuple(part.unsqueeze(0) for part in state))
            return self._read(outputs, embedded), embedded.new_zeros((*tokens.shape, 0))
        values, keys, valid = memory
        weight, bias = self.layer.input_parameters
        # The tokens' share of the gates is computed for all steps at once.
        of_tokens = nn.functional.linear(embedded, weight[:, : embedded.shape[-1]], bias)
        of_context = RepeatedProduct(weight[:, embedded.shape[-1] :].T)
        # The query and the state's share of the gates are of the same state: one product.
        weight, bias = self.layer.state_parameters
        query = self.attention.query.weight
        of_state = RepeatedProduct(torch.cat([query, weight]).T, nn.functional.pad(bias, (len(query), 0)))
        of_values = RepeatedProduct(values)
        outputs, contexts, looks = [], [], []
        state = tuple(part.unsqueeze(1) for part in state)
        # Taken apart once: a slice a step would fill a gradient of the whole with zeros at each of them.
        for share in of_tokens.unsqueeze(2).unbind(1):
            queried, from_state = of_state(state[0]).split([len(query), len(weight)], -1)
            weights = self.attention.weights(queried, keys, valid)
            context = of_values(weights)
            output, state = self.layer.step_of(share + of_context(context), from_state, state)
            outputs.append(output)
            contexts.append(context)
            looks.append(weights)
        seen = torch.cat([torch.cat(outputs, 1), torch.cat(contexts, 1)], -1)
        return self._read(seen, embedded), torch.cat(looks, 1)

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
            return self._logits(self._read(output, embedded)), state
        context, _ = self.attention(state[0], memory)
        output, state = self.layer.step(torch.cat([embedded, context], -1), state)
        return self._logits(self._read(torch.cat([output, context], -1), embedded)), state

    def _read(self, seen: Tensor, embedded: Tensor) -> Tensor:
        read: Tensor = self.dropout(torch.tanh(self.readout(torch.cat([seen, embedded], -1))))
        return read

    def _logits(self, features: Tensor) -> Tensor:
        return nn.functional.linear(features, self.embedding.tokens.weight, self.bias)
