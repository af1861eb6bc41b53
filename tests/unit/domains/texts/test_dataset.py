import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from unroll.config.sources import PathSource
from unroll.domains.texts import dataset as texts
from unroll.domains.texts.config import TextDataset
from unroll.errors import FormatError
from unroll.sources.fetch import Fetched

LABELS = ("good", "bad")


def _read(path: Path, split: str | None = None, **options: Any) -> tuple[pa.Table, list[dict[str, Any]]]:
    section = TextDataset(domain="texts", sources=(PathSource(kind="path", path=str(path)),), **options)
    return texts.read_dataset([Fetched(path, {"kind": "path"}, split, False)], section)


def _file(folder: Path, content: str, name: str = "own.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode())
    return path


def _rows(table: pa.Table) -> list[tuple[str, str | None]]:
    return [(row["text"], row["label"]) for row in table.to_pylist()]


FILES = {
    "own.csv": 'label,id,text\r\ngood,1,"A fine, short film"\r\nbad,2,Nothing\r\n',
    "semicolons.csv": "text;label\nA fine, short film;good\n\nNothing;bad\n",
    "own.tsv": "text\tlabel\nA fine, short film\tgood\nNothing\tbad",
    "own.jsonl": '{"text": "A fine, short film", "label": "good"}\n\n{"label": "bad", "text": " Nothing "}\n',
}


@pytest.mark.parametrize("name", FILES)
def test_every_form_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    table, records = _read(_file(tmp_path, FILES[name], name), split="train", labels=LABELS)
    assert table.schema == texts.SCHEMA
    assert _rows(table) == [("A fine, short film", "good"), ("Nothing", "bad")]
    assert table.column("row_id").to_pylist() == [0, 1]
    assert table.column("split").to_pylist() == ["train", "train"]
    assert table.column("rating").to_pylist() == [None, None]
    assert records == [{"kind": "path", "files": [{"file": name, "rows": 2}]}]


def test_labels_are_numbers_where_none_are_declared(tmp_path: Path) -> None:
    path = tmp_path / "own.csv.gz"
    path.write_bytes(gzip.compress(b"id,sentiment,text\n1,2.5,e\xcc\x81t\xc3\xa9\n2,-3,no\n"))
    table, _ = _read(path, label_column="sentiment")
    assert table.column("rating").to_pylist() == [2.5, -3.0]
    assert table.column("label").to_pylist() == [None, None]
    assert table.column("text").to_pylist() == ["été", "no"]


def test_json_labels_may_be_numbers_or_names_that_look_like_them(tmp_path: Path) -> None:
    path = _file(tmp_path, '{"text": "a", "label": 1}\n{"text": "b", "label": "0"}\n', "own.jsonl")
    assert _read(path)[0].column("rating").to_pylist() == [1.0, 0.0]
    assert _read(path, labels=("0", "1"))[0].column("label").to_pylist() == ["1", "0"]


def test_quotation_marks_and_line_breaks_within_cells(tmp_path: Path) -> None:
    path = _file(tmp_path, 'text,label\n"He said ""no"",\nand left",bad\nfine,good\n')
    assert _rows(_read(path, labels=LABELS)[0])[0] == ('He said "no",\nand left', "bad")
    # Between tabs nothing is quoted: a quotation mark is a character.
    path = _file(tmp_path, 'text\tlabel\n"No" is all he said\tbad\n', "own.tsv")
    assert _rows(_read(path, labels=LABELS)[0]) == [('"No" is all he said', "bad")]


def test_files_of_a_folder_are_one_table(tmp_path: Path) -> None:
    _file(tmp_path, "text,label\none,good\n", "a.csv")
    _file(tmp_path, '{"text": "two", "label": "bad"}', "b.jsonl")
    table, records = _read(tmp_path, labels=LABELS)
    assert _rows(table) == [("one", "good"), ("two", "bad")]
    assert table.column("row_id").to_pylist() == [0, 1]
    assert [one["file"] for one in records[0]["files"]] == ["a.csv", "b.jsonl"]


def test_label_nobody_declared(tmp_path: Path) -> None:
    path = _file(tmp_path, 'text,label\n"two\nlines",good\nfine,godo\n')
    told = r"own\.csv, line 4, label: found 'godo', a label nobody declared; declared are good, bad"
    with pytest.raises(FormatError, match=told):
        _read(path, labels=LABELS)


@pytest.mark.parametrize("cell", ["", "good", "nan", "inf", "1,5"])
def test_rating_that_is_no_finite_number(tmp_path: Path, cell: str) -> None:
    path = _file(tmp_path, f'text,label\nfine,1\nbad,"{cell}"\n')
    with pytest.raises(FormatError, match=rf"own\.csv, line 3, label: found '{cell}', expected a finite number"):
        _read(path)


def test_rating_of_json_is_no_truth_value(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="line 1, label: found True, expected a finite number"):
        _read(_file(tmp_path, '{"text": "a", "label": true}', "own.jsonl"))


@pytest.mark.parametrize("text", ["", "   ", "\u200b", "\u00a0"])
def test_empty_text(tmp_path: Path, text: str) -> None:
    path = _file(tmp_path, f"text,label\nfine,good\n{text},bad\n")
    with pytest.raises(FormatError, match=r"own\.csv, line 3: the text is empty; remove the row"):
        _read(path, labels=LABELS)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", r"own\.csv is empty: texts with labels were expected, as CSV, TSV or JSON lines"),
        ("Text,label\na,good\n", r"own\.csv: no column text; there are: Text, label; text_column and label_column"),
        ("a,b\n1,2\n", "no column text and no label; there are: a, b"),
        ("text,label\nA fine, short film,good\n", "line 2: 3 cells where the header has 2; a text that contains ','"),
        ('text,label\n"never closed,good\n', "line 2: no valid CSV: unexpected end of data"),
        ('{"text": "a", "label": "good"}\n{"text": \n', "line 2: no valid JSON"),
        ('{"text": "a", "label": "good"}\n["b", "bad"]\n', "line 2: found '.*', expected a JSON object"),
        ('{"text": "a", "label": "good"}\n{"text": "b"}\n', "line 2: no column label; there are: text"),
        ('{"text": null, "label": "good"}', "line 1, text: found None, expected a text"),
    ],
)
def test_file_that_is_none_of_the_forms(tmp_path: Path, content: str, told: str) -> None:
    with pytest.raises(FormatError, match=told):
        _read(_file(tmp_path, content), labels=LABELS)
