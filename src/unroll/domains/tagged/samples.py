"""Sentences with a tag for each token."""

import numpy as np
import pyarrow as pa

from unroll.config.tokenizer import TokenizerConfig
from unroll.domains.tagged.config import TaggingTask
from unroll.errors import DataError
from unroll.features.encoding import encode
from unroll.features.groups import required_splits
from unroll.features.samples import Fold, Samples, check_splits
from unroll.features.special_tokens import IGNORE_INDEX, PAD
from unroll.features.text import Vocabulary, pad

OUTSIDE = "O"


def make_samples(table: pa.Table, task: TaggingTask, name: str) -> Samples:
    """Tokens with their characters, and their tags.

    Args:
        table: Columns row_id, split, tokens, tags.
        task: Its parameters.
        name: Its name, for error messages.

    Returns:
        inputs int64 [sample, time, 1 + character]: the token, then its first characters (PAD after them). targets int64
        [sample, time], a place in the note `tags`, IGNORE_INDEX after the end.
        lengths int64 [sample], text (tokens joined by blanks). Notes: tags, cut.

    Raises:
        DataError: A sentence is empty, too long where that is refused, or has another number of tags.
        SplitError: A split is empty, or a row has none.
    """
    splits = required_splits(table, name)
    fold = Fold("all", *(np.flatnonzero(splits == part) for part in ("train", "valid", "test")))
    check_splits((fold,), name)
    sentences, tags = table["tokens"].to_pylist(), table["tags"].to_pylist()
    texts = [" ".join(tokens) for tokens in sentences]
    vocabulary = Vocabulary.fit((texts[row] for row in fold.train), task.tokenizer)
    ids, too_long = encode(vocabulary, texts, table, "sentence", task, name)
    for row, text, one, own in zip(table["row_id"].to_pylist(), texts, ids, tags, strict=True):
        if len(one) != min(len(own), task.max_tokens):
            raise DataError(
                f"tasks.{name}: row {row} has {len(own)} tags for {len(one)} tokens ({text[:60]!r}); "
                "give each token one, and let no token have a blank in it"
            )
    inputs, lengths = pad(ids)
    # Outside comes first, so that it is what the untrained say.
    known = sorted({tag for own in tags for tag in own}, key=lambda tag: (tag != OUTSIDE, tag))
    number = {tag: place for place, tag in enumerate(known)}
    targets, _ = pad([[number[tag] for tag in own[: task.max_tokens]] for own in tags], IGNORE_INDEX)
    vocabularies = {"token": vocabulary}
    inputs = inputs[:, :, np.newaxis]
    if task.characters:
        spelt = [[" ".join(token) for token in tokens[: task.max_tokens]] for tokens in sentences]
        settings = TokenizerConfig(kind="split", vocabulary_size=50_000, min_count=1)
        characters = Vocabulary.fit((token for row in fold.train for token in spelt[row]), settings)
        vocabularies["character"] = characters
        table_of = np.full((*inputs.shape[:2], 1 + task.characters), PAD, np.int64)
        table_of[:, :, :1] = inputs
        letters = characters.encode([token for row in spelt for token in row])
        first, _ = pad([one[: task.characters] for one in letters])
        inside = np.arange(inputs.shape[1]) < lengths[:, None]
        table_of[inside, 1 : 1 + first.shape[1]] = first
        inputs = table_of
    tensors = {"inputs": inputs, "lengths": lengths, "targets": targets, "text": np.array(texts, object)}
    return Samples(tensors, (fold,), vocabularies, {"tags": known, "cut": int(too_long.sum())})
