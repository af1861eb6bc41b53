"""Samples of sentences with a tag for each token."""

import numpy as np
import pyarrow as pa

from unroll.config.tokenizer import TokenizerConfig
from unroll.domains.tagged.config import TaggingTask
from unroll.domains.tagged.schemes import OUTSIDE
from unroll.errors import DataError
from unroll.features.encoding import OVER_MAX_TOKENS, encode
from unroll.features.groups import connected, count_truncated, given_splits, normalized, share_fold
from unroll.features.samples import Fold, Samples, Tensors, check_splits
from unroll.features.special_tokens import IGNORE_INDEX, PAD
from unroll.features.text import Vocabulary, pad


def make_samples(table: pa.Table, section: TaggingTask, name: str) -> Samples:
    """Return tokens with their first characters, and their tags; without splits in the data, they are made at random.

    Args:
        table: Columns row_id, split, tokens, tags.
        section: Parameters of the task.
        name: Name of the task, for error messages.

    Returns:
        inputs int32 [sample, time, 1 + character]: the token, then its first characters (PAD after them). targets int32
        [sample, time]: index into the note `tags`, IGNORE_INDEX after the end. lengths int64 [sample], text (tokens
        joined by blanks), tags (all tags, joined by blanks, for the metrics). Notes: tags, truncated (sentences
        over max_tokens, by split and reason).

    Raises:
        DataError: A sentence has no tokens, too many without truncation, or another number of tags than of tokens.
        SplitError: A split is empty, or only some rows have a split.
    """
    sentences, tags = table["tokens"].to_pylist(), table["tags"].to_pylist()
    texts = [" ".join(tokens) for tokens in sentences]
    splits = given_splits(table, name)
    if splits is None:
        fold, _ = share_fold(connected([normalized(text)] for text in texts), None, section.splits)
    else:
        fold = Fold("all", *(np.flatnonzero(splits == part) for part in ("train", "valid", "test")))
    check_splits((fold,), name)
    vocabulary = Vocabulary.fit((texts[row] for row in fold.train), section.tokenizer)
    ids, too_long = encode(vocabulary, texts, table, "sentence", section, name)
    for row, text, one, own in zip(table["row_id"].to_pylist(), texts, ids, tags, strict=True):
        if len(one) != min(len(own), section.max_tokens):
            raise DataError(
                f"tasks.{name}: row {row} has {len(own)} tags for {len(one)} tokens ({text[:60]!r}); "
                "each token needs a tag, and no token may contain a blank"
            )
    inputs, lengths = pad(ids)
    # "Outside" is number 0, which follows the end of a sentence.
    known = sorted({tag for own in tags for tag in own}, key=lambda tag: (tag != OUTSIDE, tag))
    number = {tag: place for place, tag in enumerate(known)}
    targets, _ = pad([[number[tag] for tag in own[: section.max_tokens]] for own in tags], IGNORE_INDEX)
    vocabularies = {"token": vocabulary}
    inputs = inputs[:, :, np.newaxis]
    if section.characters:
        spelled = [[" ".join(token) for token in tokens[: section.max_tokens]] for tokens in sentences]
        settings = TokenizerConfig(kind="split", vocabulary_size=50_000, min_count=1)
        vocabularies["character"] = Vocabulary.fit((token for row in fold.train for token in spelled[row]), settings)
        spellings = vocabularies["character"].encode([token for row in spelled for token in row])
        first, _ = pad([one[: section.characters] for one in spellings])
        characters = np.full((*inputs.shape[:2], section.characters), PAD, np.int32)
        characters[np.arange(inputs.shape[1]) < lengths[:, None], : first.shape[1]] = first
        inputs = np.concatenate([inputs, characters], axis=2)
    tensors: Tensors = {"inputs": inputs, "lengths": lengths, "targets": targets, "text": np.array(texts, object)}
    # Entities that the model does not read are missed, therefore the metrics need all tags.
    tensors["tags"] = np.array([" ".join(own) for own in tags], object)
    truncated = count_truncated(fold, {OVER_MAX_TOKENS: too_long})
    return Samples(tensors, (fold,), vocabularies, {"tags": known, "truncated": truncated})
