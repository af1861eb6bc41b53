"""One column of texts, five forms, the same rows; and what is no such file is named with its place."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles

from unroll.errors import DataError, FormatError
from unroll.inference.bundle import Bundle, load_bundle
from unroll.inference.readers import open_file

TEXTS = ["a b", "héllo, \"a\" 'b'", "ने a", "\u202ea\x00b", "c " * 3]


@pytest.fixture(scope="module")
def reads_text(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(tiny_bundles.classifier(tmp_path_factory.mktemp("text")))


@pytest.fixture(scope="module")
def reads_source(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(tiny_bundles.translator(tmp_path_factory.mktemp("source")))


@pytest.fixture(scope="module")
def reads_tokens(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(tiny_bundles.tagger(tmp_path_factory.mktemp("tokens")))


def rows_of(path: Path, bundle: Bundle, rows: int = 512) -> pa.Table:
    return pa.Table.from_batches(open_file(path, bundle, rows))


def write_parquet(path: Path, texts: list[Any], **columns: Any) -> None:
    pq.write_table(pa.table({**columns, "text": texts}), path, row_group_size=2)


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def write_csv(path: Path, texts: list[str]) -> None:
    path.write_text("other,Text \n" + "".join(f"1,{quoted(text)}\n" for text in texts), encoding="utf-8-sig")


def write_semicolons(path: Path, texts: list[str]) -> None:
    path.write_text("text;other\r\n" + "".join(f"{quoted(text)};1\r\n" for text in texts), encoding="utf-8", newline="")


def write_tabs(path: Path, texts: list[str]) -> None:
    path.write_text("n\ttext\n" + "".join(f"0\t{text}\n" for text in texts), encoding="utf-8")


def write_json_lines(path: Path, texts: list[str]) -> None:
    path.write_text("\n\n".join(json.dumps({"x": [1], "text": text}) for text in texts), encoding="utf-8")


def write_lines(path: Path, texts: list[str]) -> None:
    path.write_bytes("\r\n".join(texts).encode())


def write_packed(path: Path, texts: list[str]) -> None:
    path.write_bytes(gzip.compress("\n".join(texts).encode(), mtime=0))


def write_dictionary(path: Path, texts: list[str]) -> None:
    pq.write_table(pa.table({"text": pa.array(texts).dictionary_encode()}), path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.parquet", write_parquet),
        ("large.parquet", lambda path, texts: write_parquet(path, pa.array(texts, pa.large_string()))),
        ("dictionary.parquet", write_dictionary),
        ("a.csv", write_csv),
        ("semicolons.csv", write_semicolons),
        ("a.tsv", write_tabs),
        ("a.jsonl", write_json_lines),
        ("a.txt", write_lines),
        ("a.txt.gz", write_packed),
    ],
)
def test_every_form_gives_the_same_rows(
    tmp_path: Path, reads_text: Bundle, name: str, write: Callable[[Path, list[str]], object]
) -> None:
    write(tmp_path / name, TEXTS)
    table = rows_of(tmp_path / name, reads_text, rows=2)
    assert table["text"].to_pylist() == TEXTS
    assert table["row_id"].to_pylist() == table["row"].to_pylist() == list(range(5))
    assert table["row_id"].type == pa.int64()
    assert table["reason"].null_count == 5
    vocabulary = reads_text.vocabularies[tiny_bundles.BOOK]
    assert table["inputs"].to_pylist() == [row[:6] for row in vocabulary.encode(TEXTS)]


def test_batches_are_streamed(tmp_path: Path, reads_text: Bundle) -> None:
    (tmp_path / "a.txt").write_text("a\n" * 100)
    batches = list(open_file(tmp_path / "a.txt", reads_text, 2))
    assert [len(batch) for batch in batches] == [32, 32, 32, 4]  # 16 calls of the graph are sorted together
    assert batches[3]["row"].to_pylist() == [96, 97, 98, 99]


@pytest.mark.parametrize(
    ("name", "content", "ids"),
    [
        ("a.csv", "id,text\n7,a\n-2,b\n", [7, -2]),
        ("a.csv", "id,text,row_id\n7,a,1\n8,b,2\n", [1, 2]),
        ("a.csv", "id,text\n007,a\n8,b\n", ["007", "8"]),
        ("a.tsv", 'row_id\ttext\nx1\ta\n"\tb\n', ["x1", '"']),
        ("a.jsonl", '{"id": 7, "text": "a"}\n{"id": 8, "text": "b"}', [7, 8]),
        ("a.jsonl", '{"id": "7", "text": "a"}\n{"text": "b", "id": "x"}', ["7", "x"]),
    ],
)
def test_ids_are_kept_as_numbers_or_as_text(
    tmp_path: Path, reads_text: Bundle, name: str, content: str, ids: list[Any]
) -> None:
    (tmp_path / name).write_text(content)
    assert rows_of(tmp_path / name, reads_text)["row_id"].to_pylist() == ids


@pytest.mark.parametrize("ids", [[5, 3], ["x", "y"]])
def test_ids_of_parquet_are_kept(tmp_path: Path, reads_text: Bundle, ids: list[Any]) -> None:
    write_parquet(tmp_path / "a.parquet", ["a", "b"], row_id=ids)
    assert rows_of(tmp_path / "a.parquet", reads_text)["row_id"].to_pylist() == ids


def test_the_column_of_the_card_goes_before_text(tmp_path: Path, reads_source: Bundle) -> None:
    (tmp_path / "a.csv").write_text("text,source\nb,a\n")
    assert rows_of(tmp_path / "a.csv", reads_source)["text"].to_pylist() == ["a"]
    (tmp_path / "a.csv").write_text("text,target\nb,a\n")
    assert rows_of(tmp_path / "a.csv", reads_source)["text"].to_pylist() == ["b"]


def test_a_row_that_cannot_be_scored_stays_with_its_reason(tmp_path: Path, reads_text: Bundle) -> None:
    texts = ["a", "", None, " \u200b\t", "a b c d e f g h"]
    write_parquet(tmp_path / "a.parquet", texts)
    table = rows_of(tmp_path / "a.parquet", reads_text)
    assert table["text"].to_pylist() == texts
    assert table["reason"].to_pylist() == [
        None,
        "the text is empty",
        "the text is missing",
        "the text is empty",
        None,
    ]
    assert table["truncated"].to_pylist() == [False, False, False, False, True]
    assert [len(row) for row in table["inputs"].to_pylist()] == [1, 0, 0, 0, 6]


def test_text_without_a_token(tmp_path: Path, reads_text: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        type(reads_text.vocabularies[tiny_bundles.BOOK]), "encode", lambda _, texts: [[] for _ in texts]
    )
    write_parquet(tmp_path / "a.parquet", ["?"])
    assert rows_of(tmp_path / "a.parquet", reads_text)["reason"].to_pylist() == ["the text gives no token"]


def test_a_text_that_is_too_long_may_be_refused(tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundles.classifier(tmp_path / "model", truncation=False, max_tokens=2))
    write_parquet(tmp_path / "a.parquet", ["a b", "a b c"])
    table = rows_of(tmp_path / "a.parquet", bundle)
    assert table["reason"].to_pylist() == [None, "the text has 3 tokens, the model reads at most 2"]
    assert table["truncated"].to_pylist() == [False, False]


def test_the_first_token_is_not_counted(tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundles.classifier(tmp_path / "model", first_token=4, max_tokens=2))
    write_parquet(tmp_path / "a.parquet", ["a b", "a b c", ""])
    assert rows_of(tmp_path / "a.parquet", bundle)["inputs"].to_pylist() == [[4, 6, 7], [4, 6, 7], []]


def test_text_that_looks_like_a_special_token_is_none(tmp_path: Path, reads_text: Bundle) -> None:
    (tmp_path / "a.txt").write_text("a <eos> [PAD] b\n")
    numbers = rows_of(tmp_path / "a.txt", reads_text)["inputs"].to_pylist()[0]
    assert numbers[0] == tiny_bundles.FIRST
    assert not {0, 2, 3, 4, 5} & set(numbers)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.parquet", lambda path: pq.write_table(pa.table({"tokens": [["ab", "b"], [], None, ["new york"]]}), path)),
        (
            "a.jsonl",
            lambda path: path.write_text(
                '{"tokens": ["ab", "b"]}\n{"tokens": []}\n{"tokens": null}\n{"tokens": ["new york"]}'
            ),
        ),
    ],
)
def test_tokens_come_as_lists(tmp_path: Path, reads_tokens: Bundle, name: str, write: Callable[[Path], object]) -> None:
    write(tmp_path / name)
    table = rows_of(tmp_path / name, reads_tokens)
    # [UNK] and its letters a (6) and b (7); the word b (7), its letter and padding; one token is one, blanks or not.
    assert table["inputs"].to_pylist() == [[1, 6, 7, 7, 7, 0], [], [], [1, 1, 1]]
    assert table["text"].to_pylist() == ["ab b", "", None, "new york"]
    assert table["reason"].to_pylist() == [None, "the text is empty", "the text is missing", None]


def test_tokens_may_stand_in_one_cell(tmp_path: Path, reads_tokens: Bundle) -> None:
    (tmp_path / "a.txt").write_text("a  b\n")
    assert rows_of(tmp_path / "a.txt", reads_tokens)["inputs"].to_pylist() == [[6, 6, 0, 7, 7, 0]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"x,y\n1,2\n", "has no column 'text'; it has x, y"),
        ("a.csv", b"text,Text\n1,2\n", "more than one column 'text'"),
        ("a.csv", b"text,y\na,1\nb,c,2\n", r"line 3: 3 cells where the header has 2; a text that contains ',' has to"),
        ("a.csv", b'text,y\n"a"b,1\n', "line 2: not valid CSV"),
        ("a.csv", b'text,y\n"a,1\nb,2\n', "not valid CSV"),
        ("a.jsonl", b'{"text": "a"}\n{"text": ', "line 2: not valid JSON"),
        ("a.jsonl", b'{"words": "a"}', "no column 'text'; it has words"),
        ("a.txt", b"a\nb\xffc\n", "is not UTF-8 text: byte 0xff at byte offset 3, in line 2"),
        ("a.txt", b"a\nb\xe2\x82", "byte 0xe2 at byte offset 3, in line 2"),
        (
            "a.txt.gz",
            gzip.compress(b"a\n" * 9 + b"\x80", mtime=0),
            "byte 0x80 at byte offset 18 of its unpacked content",
        ),
        ("a.txt.gz", gzip.compress(b"a\n" * 5000, mtime=0)[:-9], "cannot be read after row"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, reads_text: Bundle, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        rows_of(tmp_path / name, reads_text)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", b"id,text\n1,a\n,b\n", "row 1 of the file has no row_id"),
        ("a.csv", b"id,text\n1,a\nx,b\n", "row 1 of the file has the row_id 'x', expected an integer below 2^63"),
        (
            "a.jsonl",
            b'{"id": "x", "text": "a"}\n{"id": 1, "text": "a"}',
            "row 1 of the file has the row_id '1', expected",
        ),
        ("a.jsonl", b'{"id": "x", "text": "a"}\n{"id": "\\ud83d", "text": "a"}', "expected text"),
        ("a.jsonl", b'{"text": "a"}\n{"text": 5}', "text is '5' (int), expected text"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "x\\ud83d"}', "text has U+D83D, which is half of a surrogate pair"),
    ],
)
def test_a_row_that_cannot_be_scored(
    tmp_path: Path, reads_text: Bundle, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    first, second = rows_of(tmp_path / name, reads_text)["reason"].to_pylist()
    assert first is None
    assert reason in second


def test_parquet_that_says_it_is_text_and_is_not(tmp_path: Path, reads_text: Bundle) -> None:
    column = pa.Array.from_buffers(pa.string(), 2, pa.array([b"a", b"b\xff"], pa.binary()).buffers())
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    with pytest.raises(FormatError, match="row 1: text is not UTF-8 text: byte 0xff at byte offset 1 of the cell"):
        rows_of(tmp_path / "a.parquet", reads_text)


def test_blank_lines(tmp_path: Path, reads_text: Bundle) -> None:
    """In a table of one column, and in plain text, they are texts that are empty; elsewhere they are nothing."""
    for name, content, texts in (
        ("one.csv", "text\na\n\nb\n", ["a", "", "b"]),
        ("two.csv", "text,y\na,1\n\nb,2\n", ["a", "b"]),
        ("a.txt", "a\n\nb\n", ["a", "", "b"]),
        ("a.jsonl", '\n{"text": "a"}\n \n', ["a"]),
    ):
        (tmp_path / name).write_text(content)
        assert rows_of(tmp_path / name, reads_text)["text"].to_pylist() == texts


def test_long_cells_are_read(tmp_path: Path, reads_text: Bundle) -> None:
    (tmp_path / "a.csv").write_text("text,y\n" + quoted("a\n" * 100_000) + ",1\n")
    table = rows_of(tmp_path / "a.csv", reads_text)
    assert table["truncated"].to_pylist() == [True]
