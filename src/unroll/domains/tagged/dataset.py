"""Sentences with a tag for each token: CoNLL columns read into one typed table.

Columns of the table: row_id int64 (0, 1, … in the order of the files), split string, tokens list<string> (NFC), tags
list<string> (IOB2).

Two schemes are in use. In IOB2 every entity begins with B-X and continues with I-X. In IOB1 an entity begins with I-X,
and with B-X only where an entity of type X directly follows another of type X. For example, two people side by side
and a place:

    IOB2  B-PER I-PER B-PER B-LOC O
    IOB1  I-PER I-PER B-PER I-LOC O

I-LOC after B-PER thus begins a place in IOB1, and is an error in IOB2. The scheme is inferred from all files of a
dataset together; files that fit neither are refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from unroll.domains.tagged.config import TaggedDataset
from unroll.errors import FormatError
from unroll.features.text_files import one_line, read_files, read_lines
from unroll.sources.ingested import Ingested

if TYPE_CHECKING:
    from unroll.sources.fetch import Fetched

SCHEMA = pa.schema(
    [
        ("row_id", pa.int64()),
        ("split", pa.string()),
        ("tokens", pa.list_(pa.field("element", pa.string()))),
        ("tags", pa.list_(pa.field("element", pa.string()))),
    ]
)
OUTSIDE = "O"
TAG = re.compile(r"O|[BI]-\S+")

_ENDINGS = (".conll", ".bio", ".iob", ".iob2", ".txt", ".tsv")


@dataclass(frozen=True)
class Sentence:
    """Tokens and tags of a sentence; `line` is that of its first token in the file, the others follow without a gap."""

    path: Path
    line: int
    tokens: list[str]
    tags: list[str]


def read_dataset(fetched: Sequence["Fetched"], section: TaggedDataset) -> Ingested:
    """Read every file of every source into one table, with tags in IOB2 whatever the files have.

    Raises:
        FormatError: A line has too few columns, a tag is not O, B-TYPE or I-TYPE, or the tags are neither IOB1 nor
            IOB2.
    """
    del section
    sentences, splits, records = read_files(fetched, _ENDINGS, _read)
    scheme = _scheme(sentences)
    columns = {
        "row_id": range(len(sentences)),
        "split": splits,
        "tokens": [one.tokens for one in sentences],
        "tags": [to_iob2(one.tags) if scheme == "IOB1" else one.tags for one in sentences],
    }
    notes = ["tags were converted from IOB1 to IOB2"] if scheme == "IOB1" else []
    return Ingested(pa.table(columns, schema=SCHEMA), [{**one, "scheme": scheme} for one in records], notes=notes)


def _read(path: Path) -> tuple[list[Sentence], dict[str, int]]:
    sentences = read_conll(path)
    return sentences, {"tokens": sum(len(one.tokens) for one in sentences)}


def read_conll(path: Path) -> list[Sentence]:
    """Read a file with one token per line: the token first, its tag last, columns between them left out.

    Columns are separated by tabs, or by blanks where a line has no tab. A blank line ends a sentence; `-DOCSTART-`
    lines are left out, and so are comments: lines before a sentence that begin with `#` and do not end in a tag.

    Raises:
        FormatError: A line has one column, or a tag other than O, B-TYPE, I-TYPE; or there is no token at all.
    """
    sentences: list[Sentence] = []
    tokens: list[str] = []
    tags: list[str] = []
    # A last blank line ends the last sentence, too.
    for number, line in enumerate([*read_lines(path), ""], start=1):
        cells = line.strip().split("\t") if "\t" in line.strip() else line.split()
        if not cells or cells[0] == "-DOCSTART-":
            if tokens:
                sentences.append(Sentence(path, number - len(tokens), tokens, tags))
                tokens, tags = [], []
            continue
        tag = cells[-1].strip()
        if not tokens and line.startswith("#") and not TAG.fullmatch(tag):
            continue
        token = one_line(cells[0])
        if len(cells) < 2 or not token:
            raise FormatError(
                f"{path}, line {number:,}: too few columns, found {line.strip()[:60]!r}; expected a token, and its tag "
                "in the last column"
            )
        if not TAG.fullmatch(tag):
            raise FormatError(
                f"{path}, line {number:,}: found the tag {tag!r} of {token!r}, expected O, B-TYPE or I-TYPE (IOB1 or "
                "IOB2) in the last column"
            )
        tokens.append(token)
        tags.append(tag)
    if not sentences:
        raise FormatError(f"{path} has no tokens; expected CoNLL columns")
    return sentences


def _scheme(sentences: Sequence[Sentence]) -> str:
    """Return the scheme that all sentences follow, IOB2 if they fit both.

    Raises:
        FormatError: Some tags fit only IOB1 and others only IOB2.
    """
    only_iob1 = only_iob2 = ""
    for one in sentences:
        for place, (before, tag) in enumerate(zip(["O", *one.tags], one.tags, strict=False)):
            # An entity begins where the tag before is of another type, or outside.
            if tag == "O" or before[1:] == tag[1:]:
                continue
            after = f"follows {before}" if place else "begins a sentence"
            where = f"{one.path}, line {one.line + place:,}: {tag} {after}"
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


def to_iob2(tags: Sequence[str]) -> list[str]:
    """Convert the tags of a sentence from IOB1 to IOB2: an I-X that begins an entity becomes B-X."""
    return [
        "B" + tag[1:] if tag[0] == "I" and before[1:] != tag[1:] else tag
        for before, tag in zip(["O", *tags], tags, strict=False)
    ]
