"""Sentences and their translations."""

import numpy as np
import pyarrow as pa

from unroll.domains.pairs.config import TranslationTask
from unroll.errors import SplitError
from unroll.features.encoding import encode
from unroll.features.groups import connected, given_splits, normalized, share_fold
from unroll.features.samples import Samples, check_splits
from unroll.features.special_tokens import EOS, IGNORE_INDEX
from unroll.features.text import Vocabulary, pad


def make_samples(table: pa.Table, task: TranslationTask, name: str) -> Samples:
    """Pairs of sentences; neither side of a test pair stands on either side of a pair in another split.

    Splitting by source alone would not do: many sentences have one translation in common.

    Args:
        table: Columns row_id, split, source, target.
        task: Its parameters.
        name: Its name, for error messages.

    Returns:
        inputs int64 [sample, time] (PAD after the end), lengths int64 [sample], targets int64 [sample, step] (`<eos>`
        at the end, IGNORE_INDEX after it), target_lengths int64 [sample] (with `<eos>`), source, target (texts). Notes:
        cut (pairs with a side that was cut), left_out (pairs over max_words, and given ones that would leak).

    Raises:
        DataError: A side is empty, or too long where that is refused.
        SplitError: No pair is short enough, a split is empty, or rows with and without a split are mixed.
    """
    sides = [table[side].to_pylist() for side in ("source", "target")]
    short = np.array([max(len(one.split()) for one in pair) <= task.max_words for pair in zip(*sides, strict=True)])
    if not short.any():
        raise SplitError(
            f"tasks.{name}: none of {len(short):,} pairs has at most {task.max_words} words on both sides; "
            f"raise tasks.{name}.max_words"
        )
    table = table.filter(pa.array(short))
    source, target = (table[side].to_pylist() for side in ("source", "target"))
    groups = connected((normalized(one), normalized(other)) for one, other in zip(source, target, strict=True))
    fold, leaking = share_fold(groups, given_splits(table, name), task.splits)
    check_splits((fold,), name)
    vocabulary = Vocabulary.fit([side[row] for side in (source, target) for row in fold.train], task.tokenizer)
    read, read_cut = encode(vocabulary, source, table, "source", task, name)
    written, written_cut = encode(vocabulary, target, table, "target", task, name)
    inputs, lengths = pad(read)
    targets, target_lengths = pad([[*ids, EOS] for ids in written], IGNORE_INDEX)
    tensors = {"inputs": inputs, "lengths": lengths, "targets": targets, "target_lengths": target_lengths}
    tensors |= {"source": np.array(source, object), "target": np.array(target, object)}
    cut = int((read_cut | written_cut).sum())
    return Samples(tensors, (fold,), {"text": vocabulary}, {"cut": cut, "left_out": int((~short).sum()) + leaking})
