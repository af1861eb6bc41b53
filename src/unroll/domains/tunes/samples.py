"""Samples of tunes: sequences of ABC tokens, meter and key first."""

import itertools
import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from unroll.config.tokenizer import TokenizerConfig
from unroll.domains.tunes.config import TuneTask
from unroll.features.encoding import OVER_MAX_TOKENS, refuse_empty
from unroll.features.groups import Groups, count_truncated, given_splits, linked, share_fold
from unroll.features.samples import Samples, Tensors, check_splits
from unroll.features.special_tokens import BOS, EOS, IGNORE_INDEX
from unroll.features.text import Vocabulary, pad

TOKEN = re.compile(
    r"""
    "[^"]*" | ![^!\n]*! | \[\|\] | \|[\s\\]+(?=[|:])  # left out: annotations, an empty bar line, the first of two
    | (
        ^[MKL]:.+ | \[[MKL]:[^\]]*\]                  # meter, key, unit note length; a change of one of them
        | [:\[]?\|[|:\]]*[1-9]? | :: | \[[1-9]        # bar lines, repeats, endings
        | (?:[\^_]{1,2}|=)?[A-Ga-g][,']*\d*/*\d*      # accidental, note, octave and length
        | [zx]\d*/*\d*                                # rests
        | \(\d(?::\d*){0,2}                           # tuplets
        | [<>]+ | - | [~T]                            # broken rhythm, ties, rolls and trills
        | {[^}]*} | \[[\^_=A-Ga-g][^\]:]*\]\d*/*\d*    # grace notes, chords: few enough to be one token each
    )""",
    re.VERBOSE | re.MULTILINE,
)
"""A token of ABC notation, or something to leave out. Slurs, bowing, chord symbols and line ends are left out, too.

Source: Sturm et al. 2016, "Music transcription modelling and composition using deep learning" (folk-rnn).
"""
RUN = 6
SIMILARITY = 0.15
"""Of the 560,000 pairs of default tunes, 1 in 1,000 is above 0.08 and 138 pairs reach 0.15: equal tunes, the two
printings of Money Musk (0.23) and of Roy's Wife (0.25), and tunes that share a part."""

_PITCH = re.compile(r"[\^_=]*([A-Ga-g])([,']*)")


def make_samples(table: pa.Table, section: TuneTask, name: str) -> Samples:
    """Return tunes, each to be continued token by token; near-duplicate tunes are in one split.

    Args:
        table: Columns row_id, split, text.
        section: Parameters of the task.
        name: Name of the task, for error messages.

    Returns:
        inputs int32 [sample, time] (`<bos>`, then the tokens; PAD after the end), targets int32 [sample, time] (the
        tokens, then `<eos>`; IGNORE_INDEX after the end), lengths int64 [sample]; text (tokens separated by blanks).
        Notes: truncated (tunes over max_tokens) and left_out, by split and reason.

    Raises:
        DataError: A tune has no token.
        SplitError: A split is empty, or rows with and without a split are mixed.
    """
    tunes = [tokens_of(text) for text in table["text"].to_pylist()]
    fold, left_out = share_fold(near_duplicates(tunes), given_splits(table, name), section.splits)
    check_splits((fold,), name)
    texts = [" ".join(tokens) for tokens in tunes]
    settings = TokenizerConfig(kind="split", vocabulary_size=5000, min_count=section.min_count)
    vocabulary = Vocabulary.fit((texts[row] for row in fold.train), settings)
    ids = vocabulary.encode(texts)
    refuse_empty(ids, texts, table["row_id"].to_numpy(), "text", name)
    whole = [[BOS, *tune, EOS][: section.max_tokens + 1] for tune in ids]
    inputs, lengths = pad([tune[:-1] for tune in whole])
    targets, _ = pad([tune[1:] for tune in whole], IGNORE_INDEX)
    tensors: Tensors = {"inputs": inputs, "targets": targets, "lengths": lengths, "text": np.array(texts, object)}
    too_long = np.array([tune[-1] != EOS for tune in whole])
    notes = {"truncated": count_truncated(fold, {OVER_MAX_TOKENS: too_long}), "left_out": left_out}
    return Samples(tensors, (fold,), {"tune": vocabulary}, notes)


def tokens_of(text: str) -> list[str]:
    """Split ABC notation into tokens.

    Example:
        `M:6/8`, `K:G` and `"D"|:(3DEF G2>B|[ce]2` → M:6/8 K:G |: (3 D E F G2 > B | [ce]2
    """
    return ["".join(token.split()) for token in TOKEN.findall(text) if token]


def near_duplicates(tunes: Sequence[Sequence[str]]) -> Groups:
    """Group tunes that share much of their melody, in whatever key, meter and note lengths they are written.

    A melody is the set of its runs of 6 steps on the staff between successive notes. Tunes are grouped where the
    Jaccard index of their melodies is at least 0.15, and so are tunes that are linked through others.

    Args:
        tunes: Tokens of each tune.
    """
    melodies = [_melody(tune) for tune in tunes]
    tunes_with: dict[tuple[int, ...], list[int]] = {}
    for row, melody in enumerate(melodies):
        for run in melody:
            tunes_with.setdefault(run, []).append(row)
    sizes = np.array([len(melody) for melody in melodies], np.int64)
    pairs: list[tuple[int, int]] = []
    for row, melody in enumerate(melodies):
        shared = np.bincount(np.concatenate([tunes_with[run] for run in melody]), minlength=len(tunes))
        similar = shared >= SIMILARITY * (sizes[row] + sizes - shared)
        pairs += [(row, int(other)) for other in np.flatnonzero(similar)]
    return linked(len(tunes), pairs)


def _melody(tune: Sequence[str]) -> set[tuple[int, ...]]:
    """Return the runs of steps; a tune of fewer steps is one run."""
    notes = [found for token in tune if (found := _PITCH.match(token))]
    places = ["CDEFGABcdefgab".index(note[1]) + 7 * (note[2].count("'") - note[2].count(",")) for note in notes]
    steps = [after - before for before, after in itertools.pairwise(places)]
    return {tuple(steps[first : first + RUN]) for first in range(max(len(steps) - RUN + 1, 1))}
