"""Special tokens, which have the same numbers in every vocabulary; no imports, so that torch modules may use them."""

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[NUM]", "[URL]", "<bos>", "<eos>")
"""The first tokens of every vocabulary."""
PAD, UNK, NUM, URL, BOS, EOS = range(6)
NEVER_GENERATED = (PAD, UNK, BOS)
"""Tokens that no generator writes."""
IGNORE_INDEX = -100
"""Target of a padded step, as in `torch.nn.functional.cross_entropy`."""
