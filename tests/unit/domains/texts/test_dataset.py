"""Labelled texts in CSV, TSV and JSON lines as a table."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from unroll.config.sources import PathSource
from unroll.domains.texts.config import TextDataset
from unroll.domains.texts.dataset import SCHEMA, read_dataset
from unroll.errors import FormatError
from unroll.sources.fetch import Fetched
from unroll.sources.ingested import Ingested

LABELS = ("good", "bad")
FILES = {
    "own.csv": 'label,id,text\r\ngood,1,"A fine, short film"\r\nbad,2,Nothing\r\n',
    "semicolons.csv": "text;label\nA fine, short film;good\n\nNothing;bad\n",
    "own.tsv": "text\tlabel\nA fine, short film\tgood\nNothing\tbad",
    "own.jsonl": '{"text": "A fine, short film", "label": "good"}\n\n{"label": "bad", "text": " Nothing "}\n',
}


def _read(folder: Path, content: str | bytes = "", name: str = "own.csv", **options: Any) -> Ingested:
    """The rows of a file, or of all files that are in the folder."""
    path = folder / name if content else folder
    if content:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    section = TextDataset(domain="texts", sources=(PathSource(kind="path", path="unused"),), **options)
    return read_dataset([Fetched(path, {"kind": "path"}, "train", False)], section)


def _column(ingested: Ingested, name: str) -> list[Any]:
    values: list[Any] = ingested.table.column(name).to_pylist()
    return values


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    found = _read(tmp_path, FILES[name], name, labels=LABELS)
    assert found.table.schema == SCHEMA
    assert _column(found, "row_id") == [0, 1]
    assert _column(found, "split") == ["train", "train"]
    assert _column(found, "text") == ["A fine, short film", "Nothing"]
    assert _column(found, "label") == ["good", "bad"]
    assert _column(found, "rating") == [None, None]
    assert found.sources == [{"kind": "path", "files": [{"file": name, "rows": 2}]}]


def test_labels_are_numbers_where_none_are_declared(tmp_path: Path) -> None:
    content = gzip.compress(b"id,sentiment,text\n1,2.5,e\xcc\x81t\xc3\xa9\n2,-3,no\n")
    found = _read(tmp_path, content, label_column="sentiment")
    assert _column(found, "rating") == [2.5, -3.0]
    assert _column(found, "label") == [None, None]
    assert _column(found, "text") == ["été", "no"]


def test_labels_of_json_may_be_numbers_or_names_that_look_like_them(tmp_path: Path) -> None:
    content = '{"text": "a", "label": 1}\n{"text": "b", "label": "0"}\n'
    assert _column(_read(tmp_path, content), "rating") == [1.0, 0.0]
    assert _column(_read(tmp_path, content, labels=("0", "1")), "label") == ["1", "0"]


def test_a_quotation_mark_between_tabs_is_a_character(tmp_path: Path) -> None:
    found = _read(tmp_path, 'text\tlabel\n"No" is all he said\tbad\n', labels=LABELS)
    assert _column(found, "text") == ['"No" is all he said']


def test_files_of_a_folder_are_one_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,label\n"one\nor two",good\n')
    (tmp_path / "b.jsonl").write_text('{"text": "three", "label": "bad"}')
    found = _read(tmp_path, labels=LABELS)
    assert _column(found, "text") == ["one\nor two", "three"]
    assert [one["file"] for one in found.sources[0]["files"]] == ["a.csv", "b.jsonl"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (" ", "is empty"),
        ("Text,label\na,good\n", "missing column text; found Text, label"),
        ("text,label\nA fine, short film,good\n", "line 2: 3 cells, expected 2"),
        ('text,label\n"two\nlines",good\nfine,godo\n', "line 4, label: found 'godo', expected one of good, bad"),
        ("text,label\nfine,good\n\u200b\u00a0,bad\n", "line 3, text: the text is empty"),
        ('{"text": "a", "label": "good"}\n{"text": \n', "line 2 is not valid JSON"),
        ('{"text": "a", "label": "good"}\n{"text": "b"}\n', "line 2: missing column label; found text"),
    ],
)
def test_rows_that_cannot_be_read(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(FormatError, match=rf"own\.csv.*{message}"):
        _read(tmp_path, content, labels=LABELS)


@pytest.mark.parametrize("cell", ['""', '"nan"', "true"])
def test_ratings_are_finite_numbers(tmp_path: Path, cell: str) -> None:
    content = f'{{"text": "a", "label": {cell}}}' if cell == "true" else f"text,label\nbad,{cell}\n"
    with pytest.raises(FormatError, match=r"line \d, label: found .*, expected a finite number"):
        _read(tmp_path, content)
