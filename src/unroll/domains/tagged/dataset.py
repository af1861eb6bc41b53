"""Sentences with a tag for each token: CoNLL columns read into one typed table.

Columns of the table: row_id int64 (0, 1, … in the order of the files), split string, tokens list<string> (NFC), tags
list<string> (IOB2: every entity begins with B-, goes on with I-; O is outside).

Two schemes are in use. In IOB2 an I-X follows B-X or I-X alone. In IOB1 an entity begins with I-X, and B-X stands only
where an entity of type X directly follows another of type X. Worked example, two people side by side and a place:

    IOB2  B-PER I-PER B-PER B-LOC O
    IOB1  I-PER I-PER B-PER I-LOC O

I-LOC after B-PER is thus the beginning of a place in IOB1, and does not follow in IOB2. The scheme is told from all
files of a dataset together; files that fit neither are refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from unroll.domains.tagged.config import TaggedDataset
from unroll.errors import FormatError
from unroll.features import text_files
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
TAG = re.compile(r"O|[BI]-\S+")

_ENDINGS = (".conll", ".bio", ".iob", ".iob2", ".txt", ".tsv")


@dataclass(frozen=True)
class _Sentence:
    path: Path
    line: int
    """Of its first token, from 1; the others follow without a gap."""
    tokens: list[str]
    tags: list[str]


def read_dataset(fetched: Sequence["Fetched"], section: TaggedDataset) -> Ingested:
    """Reads every file of every source into one table, tags in IOB2 whatever the files have.

    Raises:
        FormatError: A line has too few columns, a tag is of no known form, or the tags follow neither IOB1 nor IOB2.
    """
    del section
    sentences: list[_Sentence] = []
    splits: list[str | None] = []
    records: list[dict[str, Any]] = []
    for source in fetched:
        described: list[dict[str, Any]] = []
        for path in text_files.files_of(source.path, _ENDINGS):
            found = read_conll(path)
            sentences += found
            splits += [source.split] * len(found)
            tokens = sum(len(one.tokens) for one in found)
            described.append({"file": path.name, "rows": len(found), "tokens": tokens})
        records.append({**source.record, "files": described})
    scheme = _scheme(sentences)
    for record in records:
        record["scheme"] = scheme
    columns = {
        "row_id": list(range(len(sentences))),
        "split": splits,
        "tokens": [one.tokens for one in sentences],
        "tags": [to_iob2(one.tags) if scheme == "IOB1" else one.tags for one in sentences],
    }
    notes = ["tags were converted from IOB1 to IOB2"] if scheme == "IOB1" else []
    return Ingested(pa.table(columns, schema=SCHEMA), records, notes=notes)


def read_conll(path: Path) -> list[_Sentence]:
    """Reads a file of one token a line: the token first, its tag last, columns between them left out.

    Columns are separated by tabs, or by blanks where a line has no tab. A blank line ends a sentence; `-DOCSTART-`
    lines are left out, and so are lines before a sentence that begin with `#` and end in no tag (comments).

    Raises:
        FormatError: A line has one column, or a tag other than O, B-TYPE, I-TYPE; or there is no token at all.
    """
    sentences: list[_Sentence] = []
    tokens: list[str] = []
    tags: list[str] = []
    # A last blank line ends the last sentence, too.
    for number, line in enumerate([*text_files.read_lines(path), ""], start=1):
        cells = line.strip().split("\t") if "\t" in line.strip() else line.split()
        if not cells or cells[0] == "-DOCSTART-":
            if tokens:
                sentences.append(_Sentence(path, number - len(tokens), tokens, tags))
                tokens, tags = [], []
            continue
        tag = cells[-1].strip()
        if not tokens and line.startswith("#") and not TAG.fullmatch(tag):
            continue
        token = text_files.one_line(cells[0])
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
        raise FormatError(f"{path} has no tokens: CoNLL columns were expected")
    return sentences


def _scheme(sentences: Sequence[_Sentence]) -> str:
    """Which scheme all sentences follow; IOB2 where nothing tells them apart.

    Raises:
        FormatError: Some tags fit IOB1 alone and others IOB2 alone.
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
            f"the tags follow neither IOB1 nor IOB2: {only_iob1}, which IOB1 alone allows, and {only_iob2}, which IOB2 "
            "alone allows; write all files in one of them"
        )
    return "IOB1" if only_iob1 else "IOB2"


def to_iob2(tags: Sequence[str]) -> list[str]:
    """Tags of a sentence from IOB1 to IOB2: an I-X that begins an entity becomes B-X."""
    return [
        "B" + tag[1:] if tag[0] == "I" and before[1:] != tag[1:] else tag
        for before, tag in zip(["O", *tags], tags, strict=False)
    ]
