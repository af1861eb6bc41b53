"""What Parquet files unpack to, told from their footers and page headers, against what pyarrow says of them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unroll.errors import FormatError
from unroll.inference import levels, pages, parquet
from unroll.inference.thrift import Cursor

CODECS = ["none", "snappy", "gzip", "zstd", "brotli", "lz4"]


def written(path: Path, table: pa.Table, **options: object) -> pq.FileMetaData:
    with path.open("wb") as file:
        pq.write_table(table, file, **options)
    return pq.read_metadata(path)


@pytest.fixture
def table() -> pa.Table:
    rng = np.random.default_rng(0)
    texts = [chr(97 + one) * one for one in rng.integers(0, 26, 3000)]
    sizes = rng.integers(0, 40, 3000)
    ends = pa.array(np.cumsum([0, *sizes]), pa.int32())
    numbers = pa.array(rng.integers(0, 256, sizes.sum()).astype(np.uint8))
    return pa.table({"x": pa.array(texts), "y": pa.ListArray.from_arrays(ends, numbers), "z": np.arange(3000)})


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("codec", CODECS)
def test_chunks_and_pages_are_those_of_the_file(tmp_path: Path, table: pa.Table, codec: str, version: str) -> None:
    path = tmp_path / "a.parquet"
    options = {"compression": codec, "data_page_version": version, "row_group_size": 1000, "data_page_size": 500}
    about = written(path, table, **options)
    found = pages.chunks(path, [0, 1, 2])
    assert len(found) == about.num_row_groups == 3
    for group, by_leaf in enumerate(found):
        for leaf, chunk in by_leaf.items():
            column = about.row_group(group).column(leaf)
            assert (chunk.size, chunk.values) == (column.total_compressed_size, column.num_values)
            with path.open("rb") as file:
                read = list(pages.pages(file, chunk, "x"))
            assert len(read) > 1
            assert sum(page.values for page in read) == column.num_values
            headers = column.total_uncompressed_size - sum(page.unpacked for page in read)
            assert headers == column.total_compressed_size - sum(page.packed for page in read) > 0


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("codec", CODECS)
def test_the_longest_row_is_found(tmp_path: Path, table: pa.Table, codec: str, version: str) -> None:
    path = tmp_path / "a.parquet"
    options = {"compression": codec, "data_page_version": version, "row_group_size": 700, "data_page_size": 300}
    written(path, table.select(["y"]), **options)
    sizes = np.array([len(row) for row in table["y"].to_pylist()])
    for group, by_leaf in enumerate(pages.chunks(path, [0])):
        chunk = by_leaf[0]
        with path.open("rb") as file:
            found = list(pages.pages(file, chunk, "x"))
            longest = levels.longest_row(file, found, 1, chunk.codec, "x")
        assert longest == sizes[700 * group : 700 * (group + 1)].max()


@pytest.mark.parametrize(
    "rows",
    [
        [[1] * 784] * 5,
        [[1] * 784] * 50 + [[2] * 900] + [[3] * 784] * 50,
        [[1] * 785] * 50 + [[2] * 3],
        [[]] * 9 + [None],
        [[1]] * 1000,
        [[1, 2], [], None, [3] * 100, [4]],
        [[[1, 2], [3]], [], [[4]] * 50, None, [[], [5]]],
    ],
    ids=["long", "alike-but-one", "odd", "empty", "ones", "mixed", "lists-of-lists"],
)
def test_the_longest_of_some_rows(tmp_path: Path, rows: list[list[object] | None]) -> None:
    path = tmp_path / "a.parquet"
    about = written(path, pa.table({"y": pa.array(rows)}))
    chunk = pages.chunks(path, [0])[0][0]
    with path.open("rb") as file:
        found = list(pages.pages(file, chunk, "x"))
        longest = levels.longest_row(file, found, about.schema.column(0).max_repetition_level, chunk.codec, "x")

    def values(row: object) -> int:
        """An empty or missing list takes one, too."""
        return sum(max(1, values(one)) for one in row) or 1 if isinstance(row, list) else 1

    assert longest == max(map(values, rows))


def test_large_row_groups_are_measured_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    written(path, pa.table({"y": pa.array([[1] * 50] * 100 + [[2] * 60])}))
    monkeypatch.setattr(parquet, "LISTS", 12 * 60)
    with parquet.opened(path) as file:
        assert sum(len(batch) for batch in file.batches(["y"], 10)) == 101
    monkeypatch.setattr(parquet, "LISTS", 12 * 59)
    with parquet.opened(path) as file, pytest.raises(FormatError, match="a row has a list of 60 values, of which 59"):
        list(file.batches(["y"], 10))


def test_few_rows_are_read_at_once_where_they_may_be_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    written(path, pa.table({"x": pa.array(["a" * 1000] * 100), "z": np.arange(100)}))
    monkeypatch.setattr(parquet, "HELD", 10_500)
    with parquet.opened(path) as file:
        assert {len(batch) for batch in file.batches(["x", "z"], 50)} == {10}
        assert {len(batch) for batch in file.batches(["z"], 50)} == {50}


def test_a_row_group_without_rows_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    written(path, pa.table({"x": pa.array([], pa.string())}))
    with parquet.opened(path) as file:
        assert list(file.batches(["x"], 10)) == []


def test_a_large_footer_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    written(path, pa.table({"x": [1]}))
    monkeypatch.setattr(pages, "FOOTER", 100)
    with pytest.raises(FormatError, match=r"has a footer of [0-9,]+ bytes, of which 100 are read"):
        parquet.opened(path).__enter__()


@pytest.mark.parametrize("content", [b"PAR1", b"PAR1PAR1", b"PAR1" + b"\xff" * 4 + b"PAR1", b"PAR1" + b"x" * 100])
def test_what_does_not_end_as_parquet(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(FormatError, match="cannot be read"):
        parquet.opened(tmp_path / "a.parquet").__enter__()


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", IndexError),
        (b"\x15", IndexError),
        (b"\x15" + b"\xff" * 11, ValueError),
        (b"\x1d\x00", ValueError),
        (b"\x18\xff\xff\xff\xff\x0f", IndexError),
        (b"\x19\xfc\xff\xff\xff\xff\x0f", IndexError),
        (b"\x1c" * 50, ValueError),
        (b"\x19" * 50, ValueError),
    ],
    ids=["nothing", "cut", "endless-number", "unknown-kind", "long-bytes", "long-list", "deep", "deep-lists"],
)
def test_thrift_that_is_none(content: bytes, error: type[Exception]) -> None:
    cursor = Cursor(content)
    with pytest.raises(error):  # noqa: PT012 -- the loop is what is tried
        for _, kind in cursor.fields():
            cursor.skip(kind)


@pytest.mark.parametrize("most", [3, 100])
def test_texts_that_are_too_long_are_not_unpacked(most: int) -> None:
    texts = pa.array(["abc", None, "abcd", ""])
    lists = pa.array([["ab", "c"], None, [], ["ab", None, "cd"]])
    points = pa.array(["abc", None, "abcd", ""]).dictionary_encode()
    encoded = pa.ListArray.from_arrays(
        pa.array([0, 2, 2, 2, 4], pa.int32()), pa.array(["ab", "c"] * 2).dictionary_encode()
    )
    for column in (texts, lists, points, encoded, texts.slice(1), lists.slice(2), encoded.slice(1, 2)):
        plain = column.to_pylist()
        sizes = [sum(len(one or "") for one in row) if row else 0 for row in plain]
        wanted = [parquet.TooLong(size) if size > most else row for size, row in zip(sizes, plain, strict=True)]
        assert parquet.texts_of(column, most) == wanted


def test_columns_of_a_dictionary_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    written(path, pa.table({"x": pa.array(["a", "b", "a"]).dictionary_encode()}))
    with parquet.opened(path) as file:
        (batch,) = file.batches(["x"], 10)
    assert batch.schema.field("x").type == pa.string()
