"""What the samples of several domains share: splits, windows, padding, tokenizers, word vectors."""
