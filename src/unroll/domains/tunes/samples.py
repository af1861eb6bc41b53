"""Tunes as sequences of tokens."""

import itertools
import re
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from unroll import config
from unroll.errors import DataError
from unroll.features.groups import Groups, given_splits, linked, share_fold
from unroll.features.samples import Samples, check_splits
from unroll.features.special_tokens import BOS, EOS, IGNORE_INDEX
from unroll.features.text import Vocabulary, pad

INTERVALS = 5
ALIKE = 0.2
"""Of the 1,049 default tunes, the closest of 100 chance pairs share .02 of their runs of 5 intervals, the closest of
10,000 .09; the two printings of Money Musk share .26, of Roy's Wife .28."""

_NOTE = re.compile(r"(-?\d+)_\d+")
_EVENT = re.compile(r"(-?\d+|r)_(\d+)")
_EIGHTH = "12"
"""What a note lasts where no duration was told before it, in 96ths of a whole note."""


def melody_samples(table: pa.Table, task: config.MelodyTask, name: str) -> Samples:
    """Tunes, each to be continued token by token; near-duplicate tunes stand in one split.

    Args:
        table: Columns row_id, split, file, title, key, notes.
        task: Its parameters.
        name: Its name, for error messages.

    Returns:
        inputs int64 [sample, time] (`<bos>` and the tokens of `durations_told_once`, PAD after them), targets int64
        [sample, time] (the tokens and `<eos>`, IGNORE_INDEX after it), lengths int64 [sample]; file, title, key, notes
        (texts). Notes: cut, left_out.

    Raises:
        DataError: A tune has no note.
        SplitError: A split is empty, or rows with and without a split are mixed.
    """
    texts = {key: [value or "" for value in table[key].to_pylist()] for key in ("file", "title", "key", "notes")}
    tunes = [notes.split() for notes in texts["notes"]]
    for row, tune in enumerate(tunes):
        if not _pitches(tune):
            raise DataError(
                f"tasks.{name}: the tune of row {table['row_id'][row]} ({texts['file'][row]}, "
                f"{texts['title'][row]!r}) has no notes; take it out of the dataset's files"
            )
    fold, left_out = share_fold(near_duplicates(tunes), given_splits(table, name), task.splits)
    check_splits((fold,), name)
    texts["notes"] = [" ".join(durations_told_once(tune)) for tune in tunes]
    settings = config.Tokenizer(kind="split", vocabulary_size=50_000, min_count=task.min_count)
    vocabulary = Vocabulary.fit((texts["notes"][row] for row in fold.train), settings)
    ids = vocabulary.encode(texts["notes"])
    cut = sum(len(tune) > task.max_tokens for tune in ids)
    ids = [tune[: task.max_tokens] for tune in ids]
    inputs, lengths = pad([[BOS, *tune] for tune in ids])
    targets, _ = pad([[*tune, EOS] for tune in ids], IGNORE_INDEX)
    tensors = {"inputs": inputs, "targets": targets, "lengths": lengths}
    tensors |= {key: np.array(value, object) for key, value in texts.items()}
    return Samples(tensors, (fold,), {"notes": vocabulary}, {"cut": cut, "left_out": left_out})


def durations_told_once(events: Iterable[str]) -> list[str]:
    """Notes as tokens of pitch, with a token for the duration where it changes, much as ABC tells it.

    Few different tokens, each of them seen often.

    Example:
        7_12 9_12 r_24 | 7_24 becomes d12 7 9 d24 r | 7.
    """
    tokens: list[str] = []
    told = ""
    for event in events:
        found = _EVENT.fullmatch(event)
        if found is None:
            tokens.append(event)
            continue
        if found[2] != told:
            told = found[2]
            tokens.append(f"d{told}")
        tokens.append(found[1])
    return tokens


def events_of(tokens: Iterable[str]) -> list[str]:
    """The inverse of `durations_told_once`; events that are there already stay as they are."""
    events: list[str] = []
    told = _EIGHTH
    for token in tokens:
        if re.fullmatch(r"d[1-9]\d*", token):
            told = token[1:]
        else:
            events.append(f"{token}_{told}" if re.fullmatch(r"-?\d+|r", token) else token)
    return events


def near_duplicates(tunes: Sequence[Sequence[str]]) -> Groups:
    """Groups of tunes that share many of their runs of intervals, in whatever key and rhythm they are written.

    Two tunes are alike if the sets of runs of 5 intervals between successive notes have a Jaccard index of at least .2;
    what is alike through a third tune stands together, too. A tune of fewer notes is one run.

    Args:
        tunes: Tokens of each.
    """
    runs = [_runs(_pitches(tune)) for tune in tunes]
    tunes_with: dict[tuple[int, ...], list[int]] = {}
    for row, own in enumerate(runs):
        for run in own:
            tunes_with.setdefault(run, []).append(row)
    sizes = np.array([len(own) for own in runs], np.int64)
    pairs: list[tuple[int, int]] = []
    for row, own in enumerate(runs):
        shared = np.bincount(np.concatenate([tunes_with[run] for run in own]), minlength=len(runs))
        alike = shared >= ALIKE * (sizes[row] + sizes - shared)
        pairs += [(row, int(other)) for other in np.flatnonzero(alike)]
    return linked(len(runs), pairs)


def _pitches(tune: Sequence[str]) -> list[int]:
    """Semitones above the tonic of the notes `4_12`; rests `r_12`, bar lines and `mode:major` are none."""
    return [int(found[1]) for token in tune if (found := _NOTE.fullmatch(token))]


def _runs(pitches: Sequence[int]) -> set[tuple[int, ...]]:
    steps = [after - before for before, after in itertools.pairwise(pitches)]
    return {tuple(steps[first : first + INTERVALS]) for first in range(max(len(steps) - INTERVALS + 1, 1))}
