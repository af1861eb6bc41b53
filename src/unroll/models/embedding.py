"""Token embeddings."""

import torch
from torch import Tensor, nn

from unroll.features.special_tokens import PAD


class TokenEmbedding(nn.Module):
    """A vector for each token, optionally beside features of its characters.

    Args:
        vocab_size: Number of tokens.
        size: Size of a token's vector.
        characters: Characters that are read of each token; 0 for none.
        character_vocab_size: Number of different characters.
        dropout: Share of the vectors' numbers dropped.

    The vector of padding starts as zeros and stays so, unless output weights are tied to the embedding.

    Source: Ma & Hovy 2016 (convolution over characters, max over time, 30 features).
    """

    CHARACTER_FEATURES = 30

    def __init__(
        self, vocab_size: int, size: int, *, characters: int = 0, character_vocab_size: int = 0, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, size, padding_idx=PAD)
        # Tied output weights need this scale, so that logits start near zero.
        nn.init.normal_(self.tokens.weight, std=size**-0.5)
        with torch.no_grad():
            self.tokens.weight[PAD].zero_()
        self.dropout = nn.Dropout(dropout)
        self.output_size = size
        self.reads_characters = characters > 0
        if self.reads_characters:
            self.characters = nn.Embedding(character_vocab_size, self.CHARACTER_FEATURES, padding_idx=PAD)
            self.convolution = nn.Conv1d(self.CHARACTER_FEATURES, self.CHARACTER_FEATURES, 3, padding=1)
            self.output_size += self.CHARACTER_FEATURES

    def load_pretrained(self, vectors: Tensor, *, freeze: bool) -> None:
        """Start from given vectors.

        Args:
            vectors: float32 [vocabulary, size]; a row of NaN keeps its token's random vector.
            freeze: Do not train any of the vectors.
        """
        known = ~vectors.isnan().any(1)
        with torch.no_grad():
            self.tokens.weight[known] = vectors[known]
            self.tokens.weight[PAD].zero_()
        self.tokens.weight.requires_grad_(not freeze)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map int64 [...], or [batch, time, 1 + character], to float32 [..., output_size]."""
        if not self.reads_characters:
            embedded: Tensor = self.dropout(self.tokens(inputs[:, :, 0] if inputs.dim() == 3 else inputs))
            return embedded
        letters = self.characters(inputs[:, :, 1:])  # [batch, time, character, feature]
        flat = letters.flatten(0, 1).transpose(1, 2)  # [batch × time, feature, character]
        features = self.convolution(flat).amax(-1).unflatten(0, (inputs.shape[0], inputs.shape[1]))
        combined: Tensor = self.dropout(torch.cat([self.tokens(inputs[:, :, 0]), features], dim=-1))
        return combined
