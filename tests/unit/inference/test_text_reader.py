"""Texts from Parquet, CSV, TSV, JSON lines and plain text: the same rows from each, and faults with their place."""

import gzip
import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles

from unroll.errors import DataError, ParameterError
from unroll.inference.batches import open_file
from unroll.inference.bundle import load_bundle

TEXTS = ["a b", "héllo, \"a\" 'b'", "ने a", "\u202ea\x00b", "c " * 3]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return load_bundle(tiny_bundles.classifier(tmp_path_factory.mktemp("text")))


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    return load_bundle(tiny_bundles.tagger(tmp_path_factory.mktemp("tokens")))


def rows_of(path, bundle, rows=512):
    return pa.Table.from_batches(open_file(path, bundle, rows))


def write_parquet(path, texts, **columns):
    pq.write_table(pa.table({**columns, "text": texts}), path, row_group_size=2)
    return path


def quoted(texts):
    return ['"' + text.replace('"', '""') + '"' for text in texts]


CONTENTS: dict[str, Callable[[list[str]], str]] = {
    "a.csv": lambda texts: "\ufeffother,Text \n" + "".join(f"1,{text}\n" for text in quoted(texts)),
    "semicolons.csv": lambda texts: "text;other\r\n" + "".join(f"{text};1\r\n" for text in quoted(texts)),
    "a.tsv": lambda texts: "n\ttext\n" + "".join(f"0\t{text}\n" for text in texts),
    "a.json": lambda texts: json.dumps([{"x": [1], "text": text} for text in texts], indent=1),
    "a.jsonl": lambda texts: "\n\n".join(json.dumps({"x": [1], "text": text}) for text in texts),
    "a.txt": lambda texts: "\r\n".join(texts),
    "a.txt.gz": lambda texts: "\n".join(texts),
    "a.parquet": lambda texts: "",
    "large.parquet": lambda texts: "",
    "dictionary.parquet": lambda texts: "",
}


@pytest.mark.parametrize("name", CONTENTS)
def test_every_form_gives_the_same_rows(tmp_path, bundle, name):
    content = CONTENTS[name](TEXTS).encode()
    if name.endswith(".parquet"):
        texts = pa.array(TEXTS, pa.large_string() if name == "large.parquet" else pa.string())
        write_parquet(tmp_path / name, texts.dictionary_encode() if name == "dictionary.parquet" else texts)
    else:
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    table = rows_of(tmp_path / name, bundle, rows=2)
    assert table["text"].to_pylist() == TEXTS
    assert table["row_id"].to_pylist() == table["row"].to_pylist() == list(range(5))
    assert table["reason"].null_count == 5
    vocabulary = bundle.vocabularies[tiny_bundles.BOOK]
    assert table["inputs"].to_pylist() == [row[:6] for row in vocabulary.encode(TEXTS)]


def test_ids_are_kept_as_integers_or_as_text(tmp_path, bundle):
    for name, content, ids in (
        ("a.csv", "id,text\n7,a\n-2,b\n", [7, -2]),
        ("a.csv", "id,text,row_id\n7,a,1\n8,b,2\n", [1, 2]),
        ("a.csv", "id,text\n007,a\n8,b\n", ["007", "8"]),
        ("a.csv", f"id,text\n{2**63},a\n8,b\n", [str(2**63), "8"]),
        ("a.tsv", 'row_id\ttext\nx1\ta\n"\tb\n', ["x1", '"']),
        # An id that is no integer makes text of all.
        ("a.csv", "id,text\n1,a\nx2,b\n", ["1", "x2"]),
        ("a.csv", "id,text\n1.0,a\n,b\n3.0,c\n", ["1.0", None, "3.0"]),
        ("a.jsonl", '{"id": 7, "text": "a"}\n{"id": "x", "text": "b"}', ["7", "x"]),
        ("a.jsonl", '{"id": 7, "text": "a"}\n{"id": 8, "text": "b"}', [7, 8]),
        ("a.jsonl", '{"id": "7", "text": "a"}\n{"text": "b", "id": "x"}', ["7", "x"]),
    ):
        (tmp_path / name).write_text(content)
        assert rows_of(tmp_path / name, bundle)["row_id"].to_pylist() == ids
    one, other = uuid.UUID(int=1), uuid.UUID(int=2)
    for column, ids in (
        (["x", "y"], ["x", "y"]),
        (["7", "8"], ["7", "8"]),
        (pa.array([1.0, None]), [1, None]),
        (pa.array([1.0, 2.5]), ["1", "2.5"]),
        (pa.array([1, 2**63], pa.uint64()), ["1", str(2**63)]),
        (pa.array([Decimal("1.00"), Decimal("2.00")]), [1, 2]),
        (pa.array([one.bytes, other.bytes], pa.uuid()), [str(one), str(other)]),
        (pa.array([date(2024, 1, 2), None]), ["2024-01-02", None]),
        (pa.array(["x", "y"]).dictionary_encode(), ["x", "y"]),
    ):
        write_parquet(tmp_path / "a.parquet", ["a", "b"], row_id=column)
        assert rows_of(tmp_path / "a.parquet", bundle)["row_id"].to_pylist() == ids


def test_the_column_of_the_card_goes_before_text(tmp_path):
    bundle = load_bundle(tiny_bundles.translator(tmp_path / "model"))
    for header, text in (("text,source", "a"), ("text,target", "b")):
        (tmp_path / "a.csv").write_text(f"{header}\nb,a\n")
        assert rows_of(tmp_path / "a.csv", bundle)["text"].to_pylist() == [text]


def test_empty_texts_are_rejected_and_long_ones_truncated(tmp_path, bundle):
    texts = ["a", "", None, " \u200b\t", "a b c d e f g h"]
    table = rows_of(write_parquet(tmp_path / "a.parquet", texts), bundle)
    assert table["text"].to_pylist() == texts
    assert table["reason"].is_null().to_pylist() == [True, False, False, False, True]
    assert table["truncated"].to_pylist() == [False, False, False, False, True]
    assert [len(row) for row in table["inputs"].to_pylist()] == [1, 0, 0, 0, 6]
    strict = load_bundle(tiny_bundles.classifier(tmp_path / "strict", truncation=False, max_tokens=2))
    table = rows_of(write_parquet(tmp_path / "a.parquet", ["a b", "a b c"]), strict)
    assert table["reason"].is_null().to_pylist() == [True, False]


def test_the_first_token_is_not_counted(tmp_path):
    bundle = load_bundle(tiny_bundles.classifier(tmp_path / "model", first_token=4, max_tokens=2))
    write_parquet(tmp_path / "a.parquet", ["a b", "a b c", ""])
    assert rows_of(tmp_path / "a.parquet", bundle)["inputs"].to_pylist() == [[4, 6, 7], [4, 6, 7], []]


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
def test_tokens_come_as_lists_or_in_one_cell(tmp_path, tagger, name):
    rows = [["ab", "b"], [], None, ["new york"]]
    if name == "a.jsonl":
        (tmp_path / name).write_text("\n".join(json.dumps({"tokens": row}) for row in rows))
    else:
        pq.write_table(pa.table({"tokens": rows}), tmp_path / name)
    table = rows_of(tmp_path / name, tagger)
    # [UNK] with its letters a (6) and b (7); the word b (7) with its letter and padding; "new york" is one token.
    assert table["inputs"].to_pylist() == [[1, 6, 7, 7, 7, 0], [], [], [1, 1, 1]]
    assert table["text"].to_pylist() == ["ab b", "", None, "new york"]
    assert table["reason"].is_null().to_pylist() == [True, False, False, True]
    (tmp_path / "a.txt").write_text("a  b\n")
    assert rows_of(tmp_path / "a.txt", tagger)["inputs"].to_pylist() == [[6, 6, 0, 7, 7, 0]]


NOT_UTF8 = pa.Array.from_buffers(pa.string(), 2, pa.array([b"a", b"b\xff"], pa.binary()).buffers())


@pytest.mark.parametrize(
    ("name", "content", "where"),
    [
        ("a.csv", b"x,y\n1,2\n", "'text'.*x, y"),
        ("a.csv", b"text,Text\n1,2\n", "more than one column 'text'"),
        ("a.csv", b"text,y\na,1\nb,c,2\n", "line 3: 3 cells"),
        ("a.csv", b'text,y\n"a,1\nb,2\n', "line 3"),
        ("a.jsonl", b'{"text": "a"}\n{"text": ', "line 2"),
        ("a.txt", b"a\nb\xffc\n", "0xff at byte offset 3, in line 2"),
        ("a.txt.gz", gzip.compress(b"a\n" * 9 + b"\x80", mtime=0), "0x80 at byte offset 18 of its unpacked content"),
        ("a.txt.gz", gzip.compress(b"a\n" * 5000, mtime=0)[:-9], "damaged gzip"),
        ("images", b"\x00\x00\x08\x03", "IDX; tiny-text-class reads texts from Parquet or CSV or TSV"),
        ("a.parquet", NOT_UTF8, "row 1: text .*0xff in position 1"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path, bundle, name, content, where):
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        write_parquet(tmp_path / name, content)
    with pytest.raises(DataError, match=where) as caught:
        rows_of(tmp_path / name, bundle)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("a.csv", "id,text\n1,a\n,b\n", "row 1 of the file"),
        ("a.jsonl", '{"id": "x", "text": "a"}\n{"id": [1], "text": "a"}', "row 1 of the file has the row_id '[1]'"),
        ("a.jsonl", '{"id": "x", "text": "a"}\n{"id": "\\ud83d", "text": "a"}', "row 1 of the file"),
        ("a.jsonl", '{"text": "a"}\n{"text": 5}', "'5' (int)"),
        ("a.jsonl", '{"text": "a"}\n{"text": "x\\ud83d"}', "U+D83D"),
    ],
)
def test_a_row_that_cannot_be_scored(tmp_path, bundle, name, content, part):
    (tmp_path / name).write_text(content)
    first, second = rows_of(tmp_path / name, bundle)["reason"].to_pylist()
    assert first is None
    assert part in second


def test_parquet_values_that_are_not_text(tmp_path, bundle):
    for value in (1, b"a", ["a"]):
        (reason,) = rows_of(write_parquet(tmp_path / "a.parquet", [value]), bundle)["reason"].to_pylist()
        assert f"({type(value).__name__})" in reason


def test_blank_lines_are_texts_only_where_a_line_is_a_text(tmp_path, bundle):
    for name, content, texts in (
        ("one.csv", "text\na\n\nb\n", ["a", "", "b"]),
        ("two.csv", "text,y\na,1\n\nb,2\n", ["a", "b"]),
        ("a.txt", "a\n\nb\n", ["a", "", "b"]),
        ("a.jsonl", '\n{"text": "a"}\n \n', ["a"]),
        # Longer than the limit of Python's csv module
        ("long.csv", "text,y\n" + '"' + "a\n" * 100_000 + '",1\n', ["a\n" * 100_000]),
    ):
        (tmp_path / name).write_text(content)
        assert rows_of(tmp_path / name, bundle)["text"].to_pylist() == texts


@pytest.mark.parametrize(
    ("settings", "content", "texts"),
    [
        ({"column_names": ["label", "text"]}, "good,a\nbad,b\n", ["a", "b"]),
        # A file's own header is a header.
        ({"column_names": ["label", "text"]}, "text,label\na,good\n", ["a"]),
        ({"header": False, "column_names": ["text", "*"]}, "a,1,2\n", ["a"]),
        ({"separator": ";", "text_column": "Review"}, "review;text\na,b;c\n", ["a,b"]),
        ({"quotes": False}, 'text,n\n"a" b,1\n', ['"a" b']),
        ({"encoding": "latin-1"}, "text\ncafé\n".encode("latin-1"), ["café"]),
        ({"encoding": "latin-1"}, "text\ncafé\n", ["café"]),
    ],
)
def test_files_are_read_with_the_settings_of_the_card(tmp_path, bundle, settings, content, texts):
    (tmp_path / "a.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    own = replace(bundle, card=bundle.card.with_settings(settings))
    assert rows_of(tmp_path / "a.csv", own)["text"].to_pylist() == texts


def test_settings_that_do_not_exist_are_named(bundle):
    for settings, name in (
        ({"headers": False}, "headers"),
        ({"header": "no"}, "header"),
        ({"separator": "."}, "separ"),
    ):
        with pytest.raises(ParameterError, match=name):
            bundle.card.with_settings(settings)
