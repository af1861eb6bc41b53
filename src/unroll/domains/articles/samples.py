"""Samples of running text: windows of one stream of tokens."""

import itertools

import numpy as np
import pyarrow as pa

from unroll.domains.articles.config import LanguageTask
from unroll.features.encoding import refuse_empty, token_arrays
from unroll.features.groups import required_splits
from unroll.features.samples import Fold, Samples, check_splits
from unroll.features.special_tokens import EOS, IGNORE_INDEX, PAD, UNK
from unroll.features.text import TokenArray, Vocabulary


def make_samples(table: pa.Table, section: LanguageTask, name: str) -> Samples:
    """Return windows of running text, each the continuation of the one before it in its split.

    Each line ends with `<eos>`, and each split begins with one.

    Example:
        Lines "a b", "c" and windows of 3: the stream is <eos> a b <eos> c <eos>, the inputs are (<eos> a b) and
        (<eos> c PAD), the targets (a b <eos>) and (c <eos> IGNORE_INDEX).

    Args:
        table: Columns row_id, split, text; each row is a line of the text.
        section: Parameters of the task.
        name: Name of the task, for error messages.

    Returns:
        inputs and targets int32 [window, time], the windows of train, then of valid, then of test. Notes: number of
        tokens and share of unknown tokens in each split.

    Raises:
        DataError: A line is empty.
        SplitError: A split is empty, or a row has none.
    """
    texts, splits = np.array(table["text"].to_pylist(), object), required_splits(table, name)
    lines = {part: texts[splits == part] for part in ("train", "valid", "test")}
    check_splits((Fold("all", *(np.flatnonzero(splits == part) for part in lines)),), name)
    vocabulary = Vocabulary.fit(lines["train"], section.tokenizer)
    windows, tokens, unknown = [], {}, {}
    for part, own in lines.items():
        ids = token_arrays(vocabulary, own)
        refuse_empty(ids, own, table["row_id"].to_numpy()[splits == part], "text", name)
        end = np.array([EOS], np.int32)
        stream = np.concatenate([end, *itertools.chain.from_iterable((line, end) for line in ids)])
        windows.append(_windows(stream, section.window))
        tokens[part] = len(stream) - 1
        unknown[part] = float((stream == UNK).mean())
    ends = np.cumsum([0, *(len(inputs) for inputs, _ in windows)])
    fold = Fold("all", *(np.arange(first, last) for first, last in itertools.pairwise(ends)))
    tensors = {"inputs": np.concatenate([one for one, _ in windows])}
    tensors["targets"] = np.concatenate([one for _, one in windows])
    return Samples(tensors, (fold,), {"text": vocabulary}, {"tokens": tokens, "unknown": unknown})


def _windows(stream: TokenArray, length: int) -> tuple[TokenArray, TokenArray]:
    """Return inputs and the tokens after them, int32 [window, time]."""
    count = -(-(len(stream) - 1) // length)
    inputs = np.full(count * length, PAD, np.int32)
    targets = np.full(count * length, IGNORE_INDEX, np.int32)
    inputs[: len(stream) - 1] = stream[:-1]
    targets[: len(stream) - 1] = stream[1:]
    return inputs.reshape(count, length), targets.reshape(count, length)
