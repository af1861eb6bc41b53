"""Sentences with a tag for each token, read into one typed table.

Columns of the table: row_id int64 (0, 1, … in the order of the files), split string, tokens list<string> (NFC), tags
list<string> (IOB2, whatever scheme the files have).
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from unroll.config.sources import Column
from unroll.domains.tagged.config import TaggedDataset
from unroll.domains.tagged.schemes import PREFIXED, Sentence, scheme_of, to_iob2
from unroll.errors import FormatError
from unroll.features.text_files import normal, read_files, read_lines
from unroll.sources.ingested import Ingested
from unroll.sources.layouts import read_table

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
Rows = list[tuple[Path, int, list[str]]]
"""File, line and cells of each token of a sentence."""

ENDINGS = (".conll", ".conllu", ".bio", ".iob", ".iob2", ".txt", ".tsv", ".csv")
_TITLES = {
    "token": ("token", "word"),
    "tag": ("tag", "ner_tag", "ner", "label"),
    "sentence": ("sentence #", "sentence", "sentence_id"),
}
_NUMBER = re.compile(r"[\d.,-]+")
_SUBTOKEN = re.compile(r"\d+[-.]\d+")
"""CoNLL-U's number of a contraction of several tokens (3-4), or of a word that is not there (3.1)."""


def read_dataset(fetched: Sequence["Fetched"], section: TaggedDataset) -> Ingested:
    """Read every file of every source into one table.

    Raises:
        FormatError: A line has too few columns, a token has a blank inside, it is not plain which columns are tokens
            and tags, or the tags follow no scheme.
    """
    found, splits, records = read_files(fetched, ENDINGS, lambda path: _read(path, section))
    places = _places(found, section)
    sentences = [_sentence(rows, *places) for rows in found]
    if all(_NUMBER.fullmatch(token) for one in sentences for token in one.tokens):
        raise FormatError(
            f"{sentences[0].path}: the tokens are numbers alone; set `columns: {{token: …, tag: …}}` of the dataset"
        )
    scheme = scheme_of(sentences)
    columns = {
        "row_id": range(len(sentences)),
        "split": splits,
        "tokens": [one.tokens for one in sentences],
        "tags": [to_iob2(one.tags, scheme) for one in sentences],
    }
    notes = [] if scheme == "IOB2" else [f"tags were converted from {scheme} to IOB2"]
    return Ingested(pa.table(columns, schema=SCHEMA), [{**one, "scheme": scheme} for one in records], notes=notes)


def _read(path: Path, section: TaggedDataset) -> tuple[list[Rows], dict[str, int]]:
    is_csv = path.name.lower().removesuffix(".gz").endswith(".csv")
    sentences = list(
        _read_table(path, section) if is_csv or section.column_names else _read_conll(path, section.encoding)
    )
    if not sentences:
        raise FormatError(f"{path} has no tokens; expected CoNLL columns")
    return sentences, {"tokens": sum(map(len, sentences))}


def _read_conll(path: Path, encoding: str) -> Iterator[Rows]:
    """Yield the sentences of a file with one token per line.

    Columns are separated by tabs, or by blanks where a line has no tab. A blank line ends a sentence; `-DOCSTART-`
    lines are left out, and so are comments: lines before a sentence that begin with `#` and do not end in a tag.
    """
    rows: Rows = []
    # A last blank line ends the last sentence, too.
    for number, line in enumerate([*read_lines(path, encoding), ""], start=1):
        text = line.strip(" \t")
        # Other white space, such as a no-break space, is inside a token.
        cells = text.split("\t") if "\t" in text else re.split(" +", text)
        if not text.strip() or cells[0] == "-DOCSTART-":
            if rows:
                yield rows
                rows = []
            continue
        if not rows and line.startswith("#") and not PREFIXED.fullmatch(cells[-1].strip()):
            continue
        if len(cells) < 2 or not normal(cells[0]):
            raise FormatError(
                f"{path}, line {number:,}: too few columns, found {line.strip()[:60]!r}; expected a token, and its tag "
                "in the last column"
            )
        rows.append((path, number, cells))


def _read_table(path: Path, section: TaggedDataset) -> Iterator[Rows]:
    """Yield the sentences of a table with a header: its columns token, tag and sentence, in this order.

    A sentence begins where its column has another value; where it is empty, the sentence goes on.
    """
    known = {role: _TITLES[role] for role in _TITLES}
    given = {} if section.columns is None else section.columns.model_dump(exclude_none=True)
    names = [name for titles in known.values() for name in titles]
    names += [one.lower() for one in given.values() if isinstance(one, str)]
    titles, table = read_table(path, section, names)
    lower = [title.strip().lower() for title in titles]
    places = [_column(given.get(role), known[role], lower, path, role) for role in known]
    rows: Rows = []
    last = ""
    for line, cells in table:
        token, tag, sentence = (cells[place] for place in places)
        if rows and sentence.strip() not in ("", last):
            yield rows
            rows = []
        last = sentence.strip() or last
        rows.append((path, line, [token, tag]))
    if rows:
        yield rows


def _column(given: Column | None, known: Sequence[str], titles: Sequence[str], path: Path, role: str) -> int:
    if isinstance(given, int) and given < len(titles):
        return given
    found = [given.lower()] if isinstance(given, str) else [name for name in known if name in titles]
    if (given is None and len(found) == 1) or (isinstance(given, str) and titles.count(found[0]) == 1):
        return titles.index(found[0])
    raise FormatError(
        f"{path}: which column has the {role} is not plain, found {', '.join(titles)[:200]}; set `columns` of the "
        "dataset to the names or numbers (from 0) of token, tag and sentence"
    )


def _places(sentences: Sequence[Rows], section: TaggedDataset) -> tuple[int, int]:
    """Return the numbers of the columns of tokens and tags, as they are for all files of a dataset."""
    rows = [row for sentence in sentences for row in sentence]
    columns = section.columns
    widths = {len(cells) for _, _, cells in rows}
    width = widths.pop() if len(widths) == 1 else 0
    from_table = rows[0][0].name.lower().removesuffix(".gz").endswith(".csv") or section.column_names
    if from_table:
        return 0, 1
    if columns is not None:
        if isinstance(columns.token, str) or isinstance(columns.tag, str):
            raise FormatError(f"{rows[0][0]} has no header: give `columns` as numbers from 0")
        return columns.token, columns.tag
    numbers = [[cells[0] for _, _, cells in sentence] for sentence in sentences]
    counted = all(
        [one for one in own if not _SUBTOKEN.fullmatch(one)] in (_count(own, 0), _count(own, 1)) for own in numbers
    )
    token = int(counted and (not width or width > 2))
    return token, _tag_column(rows, token, width)


def _count(numbers: Sequence[str], first: int) -> list[str]:
    whole = sum(not _SUBTOKEN.fullmatch(one) for one in numbers)
    return [str(first + place) for place in range(whole)]


def _tag_column(rows: Rows, token: int, width: int) -> int:
    """Return the last column, or the one before it where the last one has the nested entities of GermEval 2014."""
    types = {place: {cells[place] for _, _, cells in rows} for place in range(token + 1, width)}
    tagged = [place for place, own in types.items() if all(map(PREFIXED.fullmatch, own))]
    kinds = [{tag[2:] for tag in types[place]} - {""} for place in tagged]
    if len(tagged) > 1 and kinds[-2] and kinds[-1] <= kinds[-2]:
        if kinds[-1] or token:
            return tagged[-2]
        _refuse(rows, "the last column has no entity, another one has")
    last = width - 1 if width else -1
    own = {cells[-1].strip() for _, _, cells in rows}
    plain = any(PREFIXED.fullmatch(one) for one in own) or (
        width == token + 2 and all(re.fullmatch(r"[A-Z]+", one) for one in own)
    )
    if not plain:
        _refuse(rows, f"the last one has {', '.join(sorted(own)[:4])}")
    return last


def _refuse(rows: Rows, why: str) -> None:
    path, line, cells = rows[0]
    raise FormatError(
        f"{path}, line {line:,}: which of {len(cells)} columns has the tags is not plain: {why}; expected O, B-TYPE or "
        "I-TYPE in the last column; set `columns: {token: …, tag: …}` of the dataset to their numbers from 0"
    )


def _sentence(rows: Rows, token: int, tag: int) -> Sentence:
    found = Sentence(rows[0][0], [], [], [])
    for path, line, cells in rows:
        if token and _SUBTOKEN.fullmatch(cells[0]):
            continue
        if max(token, tag) >= len(cells):
            raise FormatError(f"{path}, line {line:,}: {len(cells)} columns, expected {max(token, tag) + 1} or more")
        text = normal(cells[token])
        if not text or text.split() != [text]:
            raise FormatError(
                f"{path}, line {line:,}: found the token {cells[token]!r}; a token has no blank inside and is not empty"
            )
        found.lines.append(line)
        found.tokens.append(text)
        found.tags.append(cells[tag].strip())
    return found
