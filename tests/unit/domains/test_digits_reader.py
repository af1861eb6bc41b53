"""Files of digits: every form gives the same rows, and what cannot be read is named with its place."""

import gzip
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles

from unroll.errors import DataError
from unroll.inference.batches import open_file
from unroll.inference.bundle import load_bundle


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return load_bundle(tiny_bundles.digits(tmp_path_factory.mktemp("digits")))


def rows_of(path, bundle, rows=512):
    return pa.Table.from_batches(open_file(path, bundle, rows))


def pixels_of(table):
    return table["inputs"].combine_chunks().flatten().to_numpy().reshape(-1, 784)


def write_csv(path, pixels, *, header=True, before=None):
    before = before or {}
    lines = [[*before, *(f"{i // 28 + 1}x{i % 28 + 1}" for i in range(pixels.shape[1]))]] if header else []
    lines += [[*(before[name][row] for name in before), *pixels[row]] for row in range(len(pixels))]
    text = "".join(",".join(map(str, line)) + "\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def idx_bytes(pixels):
    return struct.pack(">IIII", 0x803, len(pixels), 28, 28) + pixels.tobytes()


def write_parquet(path, pixels, **columns):
    pq.write_table(tiny_bundles.digits_table(pixels, **columns), path, row_group_size=7)
    return path


def with_type(kind):
    def write(path, pixels):
        pq.write_table(pa.table({"pixels": pa.array(pixels.tolist(), kind)}), path)
        return path

    return write


def write_bytes(path, pixels):
    column = pa.array([row.tobytes() for row in pixels], pa.binary(784))
    pq.write_table(pa.table({"pixels": column}), path, row_group_size=7)
    return path


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("fixed.parquet", write_parquet),
        ("list.parquet", with_type(pa.list_(pa.int64()))),
        ("bytes.parquet", write_bytes),
        ("packed.csv.gz", write_csv),
        ("labelled.csv", lambda path, pixels: write_csv(path, pixels, before={"label": [3] * len(pixels)})),
        (
            "bare-labelled.csv",
            lambda path, pixels: write_csv(path, pixels, header=False, before={"": [3] * len(pixels)}),
        ),
        ("images", lambda path, pixels: path.write_bytes(idx_bytes(pixels))),
        ("images.gz", lambda path, pixels: path.write_bytes(gzip.compress(idx_bytes(pixels)))),
    ],
)
def test_every_form_gives_the_same_rows(tmp_path, digits, name, write):
    pixels = tiny_bundles.images(100)
    write(tmp_path / name, pixels)
    table = rows_of(tmp_path / name, digits, rows=2)
    assert np.array_equal(pixels_of(table), pixels)
    assert table["row_id"].to_pylist() == list(range(100))
    assert [len(chunk) for chunk in table["row_id"].chunks] == [32, 32, 32, 4]


def test_row_ids_of_the_file_are_kept(tmp_path, digits):
    ids = [7, -1, 2**40]
    pixels = tiny_bundles.images(3)
    from_parquet = rows_of(write_parquet(tmp_path / "a.parquet", pixels, row_id=ids), digits)
    from_csv = rows_of(write_csv(tmp_path / "a.csv", pixels, before={"id": ids, "label": [1, 2, 3]}), digits)
    assert from_parquet["row_id"].to_pylist() == from_csv["row_id"].to_pylist() == ids


def with_pixel_9(value):
    def write(path):
        pixels = tiny_bundles.images(5).astype(object)
        pixels[3, 9] = value
        return write_csv(path, pixels)

    return write


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.csv", with_pixel_9("x"), "Row #5: CSV conversion error.*invalid value 'x'"),
        ("a.csv", lambda path: write_csv(path, tiny_bundles.images(2)[:, :783]), "783 of them pixels; expected 784"),
        ("a.csv", lambda path: path.write_bytes(b"\xff\xfe\x01" * 600_000), "is UTF-16"),
        ("a.csv", lambda path: path.write_text(",".join(["1"] * 784) + "\n1,2\n"), "Expected 784 columns, got 2"),
        ("a.parquet", lambda path: path.write_bytes(b"PAR1 and then nothing"), "cannot be read after row 0"),
        ("a.parquet", lambda path: pq.write_table(pa.table({"x": [1]}), path), "no column 'pixels'.*it has x"),
        ("a.parquet", lambda path: pq.write_table(pa.table({"pixels": [[0.5] * 784]}), path), "pixels are double"),
        ("a.parquet", lambda path: write_parquet(path, tiny_bundles.images(1), row_id=["a"]), "row_id is string"),
        ("images", lambda path: path.write_bytes(struct.pack(">IIII", 0x803, 1, 32, 32) + bytes(1024)), "32 × 32"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, digits, name, write, message):
    write(tmp_path / name)
    with pytest.raises(DataError, match=message) as caught:
        rows_of(tmp_path / name, digits)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("value", [256, -1, ""])
def test_a_row_of_a_csv_that_cannot_be_scored(tmp_path, digits, value):
    with_pixel_9(value)(tmp_path / "a.csv")
    table = rows_of(tmp_path / "a.csv", digits)
    reason = "pixel 9 is missing" if value == "" else f"pixel 9 is {value}, expected 0–255"
    assert table["reason"].to_pylist() == [None, None, None, reason, None]
    good = [0, 1, 2, 4]
    assert np.array_equal(pixels_of(table)[good], tiny_bundles.images(5)[good])


def test_rows_of_a_parquet_that_cannot_be_scored(tmp_path, digits):
    good = [1] * 784
    rows = [good, None, [1, 2], [None, *good[1:]], [2, 999, *good[2:]], [], good, good]
    ids = [*range(7), None]
    pq.write_table(pa.table({"row_id": ids, "pixels": pa.array(rows, pa.list_(pa.int64()))}), tmp_path / "a.parquet")
    for size in (1, 3, 100):
        table = rows_of(tmp_path / "a.parquet", digits, size)
        assert table["reason"].to_pylist() == [
            None,
            "the pixels are missing",
            "2 pixels, expected 784 (28 × 28)",
            "a pixel is missing",
            "pixel 1 is 999, expected 0–255",
            "0 pixels, expected 784 (28 × 28)",
            None,
            "row 7 of the file has no row_id",
        ]
        assert pixels_of(table)[[0, 6, 7]].tolist() == [good] * 3
        assert table["row_id"].to_pylist() == ids
    column = pa.array([bytes(784), None, bytes(784)], pa.binary(784))
    pq.write_table(pa.table({"pixels": column}), tmp_path / "b.parquet")
    assert rows_of(tmp_path / "b.parquet", digits)["reason"].to_pylist() == [None, "the pixels are missing", None]
