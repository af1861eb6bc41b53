"""Samples of sentences and their translations."""

import numpy as np
import pyarrow as pa

from unroll.domains.pairs.config import TranslationTask
from unroll.errors import SplitError
from unroll.features.encoding import OVER_MAX_TOKENS, encode
from unroll.features.groups import connected, count_left_out, count_truncated, given_splits, normalized, share_fold
from unroll.features.samples import Samples, Tensors, check_splits
from unroll.features.special_tokens import EOS, IGNORE_INDEX
from unroll.features.text import Vocabulary, pad


def make_samples(table: pa.Table, section: TranslationTask, name: str) -> Samples:
    """Return pairs of sentences; no sentence of a test pair occurs in another split, on either side.

    It is not enough to split by source: many sentences have a translation in common.

    Args:
        table: Columns row_id, split, source, target.
        section: Parameters of the task.
        name: Name of the task, for error messages.

    Returns:
        inputs int32 [sample, time] (PAD after the end), lengths int64 [sample], targets int32 [sample, step] (`<eos>`
        at the end, IGNORE_INDEX after it), target_lengths int64 [sample] (with `<eos>`), source, target (texts). Notes:
        truncated (sides over max_tokens) and left_out (pairs over max_words, except of a given test split, and pairs
        that would leak), by split and reason.

    Raises:
        DataError: A side has no tokens, or too many without truncation.
        SplitError: No pair is short enough, a split is empty, or only some rows have a split.
    """
    sides = [table[side].to_pylist() for side in ("source", "target")]
    given = given_splits(table, name)
    short = np.array([max(len(one.split()) for one in pair) <= section.max_words for pair in zip(*sides, strict=True)])
    if given is not None:
        # A limit of training does not choose the rows of a test that others use, too.
        short |= given == "test"
    left_out = count_left_out(given, ~short, "over max_words")
    if not short.any():
        raise SplitError(
            f"tasks.{name}: none of {len(short):,} pairs has at most {section.max_words} words on both sides; "
            f"raise tasks.{name}.max_words"
        )
    table = table.filter(pa.array(short))
    source, target = (table[side].to_pylist() for side in ("source", "target"))
    groups = connected((normalized(one), normalized(other)) for one, other in zip(source, target, strict=True))
    fold, leaking = share_fold(groups, given_splits(table, name), section.splits)
    check_splits((fold,), name)
    vocabulary = Vocabulary.fit([side[row] for side in (source, target) for row in fold.train], section.tokenizer)
    source_ids, source_cut = encode(vocabulary, source, table, "source", section, name)
    target_ids, target_cut = encode(vocabulary, target, table, "target", section, name)
    inputs, lengths = pad(source_ids)
    targets, ends = pad(target_ids, IGNORE_INDEX)
    targets = np.pad(targets, ((0, 0), (0, 1)), constant_values=IGNORE_INDEX)
    targets[np.arange(len(targets)), ends] = EOS
    tensors: Tensors = {"inputs": inputs, "lengths": lengths, "targets": targets, "target_lengths": ends + 1}
    tensors |= {"source": np.array(source, object), "target": np.array(target, object)}
    for part, reasons in leaking.items():
        left_out.setdefault(part, {}).update(reasons)
    too_long = {f"source {OVER_MAX_TOKENS}": source_cut, f"target {OVER_MAX_TOKENS}": target_cut}
    notes = {"truncated": count_truncated(fold, too_long), "left_out": left_out}
    return Samples(tensors, (fold,), {"text": vocabulary}, notes)
