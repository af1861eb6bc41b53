"""Schemes of tags of entities, and their conversion to IOB2.

In IOB2 every entity begins with B-X and continues with I-X. In IOB1 an entity begins with I-X, and with B-X only where
an entity of type X directly follows another of type X. For example, two people side by side and a place:

    IOB2   B-PER I-PER B-PER B-LOC O
    IOB1   I-PER I-PER B-PER I-LOC O
    BIOES  B-PER E-PER S-PER S-LOC O

I-LOC after B-PER thus begins a place in IOB1, and is an error in IOB2. BIOES marks the end (E, also L or M … E) and
entities of one token (S, also U). Bare types have no prefix: neighbors of one type are one entity where O occurs
(`types`), and each token is for itself where it does not, as parts of speech are (`token types`). The scheme is
inferred from all files of a dataset together; files that fit none are refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unroll.errors import FormatError

OUTSIDE = "O"
TAG = re.compile(r"O|[BI]-\S+")
PREFIXED = re.compile(r"O|[BIESLUM]-\S+")


@dataclass(frozen=True)
class Sentence:
    """Tokens and tags of a sentence, and the line of each token in the file."""

    path: Path
    lines: list[int]
    tokens: list[str]
    tags: list[str]


def scheme_of(sentences: Sequence[Sentence]) -> str:
    """Return the scheme that all sentences follow, IOB2 if they fit IOB1, too.

    Raises:
        FormatError: A tag is of another scheme than the others.
    """
    tags = {tag for one in sentences for tag in one.tags}
    if tags != {OUTSIDE} and not any(PREFIXED.fullmatch(tag) for tag in tags - {OUTSIDE}):
        return "types" if OUTSIDE in tags else "token types"
    for one in sentences:
        for line, token, tag in zip(one.lines, one.tokens, one.tags, strict=True):
            if not PREFIXED.fullmatch(tag):
                raise FormatError(
                    f"{one.path}, line {line:,}: found the tag {tag!r} of {token!r}, expected O, B-TYPE or I-TYPE "
                    "(IOB1 or IOB2; BIOES has E- and S-, too); `columns` of the dataset names the column of tags"
                )
    if any(not TAG.fullmatch(tag) for tag in tags):
        _check_ends(sentences)
        return "BIOES"
    return _iob(sentences)


def _check_ends(sentences: Sequence[Sentence]) -> None:
    for one in sentences:
        for line, before, tag in zip(one.lines, [OUTSIDE, *one.tags], one.tags, strict=False):
            if tag[0] in "IMEL" and (before[0] not in "BIM" or before[1:] != tag[1:]):
                raise FormatError(f"{one.path}, line {line:,}: {tag} follows {before}, which BIOES does not allow")


def _iob(sentences: Sequence[Sentence]) -> str:
    only_iob1 = only_iob2 = ""
    for one in sentences:
        for place, (before, tag) in enumerate(zip([OUTSIDE, *one.tags], one.tags, strict=False)):
            # An entity begins where the tag before is of another type, or outside.
            if tag == OUTSIDE or before[1:] == tag[1:]:
                continue
            after = f"follows {before}" if place else "begins a sentence"
            where = f"{one.path}, line {one.lines[place]:,}: {tag} {after}"
            if tag[0] == "I":
                only_iob1 = only_iob1 or where
            else:
                only_iob2 = only_iob2 or where
    if only_iob1 and only_iob2:
        raise FormatError(
            f"the tags are neither IOB1 nor IOB2: {only_iob1}, allowed in IOB1 only, and {only_iob2}, allowed in IOB2 "
            "only; write all files in one of them"
        )
    return "IOB1" if only_iob1 else "IOB2"


def to_iob2(tags: Sequence[str], scheme: str) -> list[str]:
    """Convert the tags of a sentence to IOB2.

    Example:
        Of scheme `types`, PER PER O becomes B-PER I-PER O; of `token types`, NOUN NOUN becomes B-NOUN B-NOUN.
    """
    if scheme == "BIOES":
        return [{"S": "B", "U": "B", "E": "I", "L": "I", "M": "I"}.get(tag[0], tag[0]) + tag[1:] for tag in tags]
    if scheme == "token types":
        return [f"B-{tag}" for tag in tags]
    if scheme == "types":
        tags = [tag if tag == OUTSIDE else f"I-{tag}" for tag in tags]
    if scheme == "IOB2":
        return list(tags)
    # In IOB1, an I-X that begins an entity becomes B-X.
    return [
        "B" + tag[1:] if tag[0] == "I" and before[1:] != tag[1:] else tag
        for before, tag in zip([OUTSIDE, *tags], tags, strict=False)
    ]
