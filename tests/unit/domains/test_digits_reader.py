"""Files of digits: every form gives the same rows, and what cannot be read is named with its place."""

import csv
import gzip
import struct
from dataclasses import replace

import numpy as np
import pandas as pd
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


def labelled(pixels, place):
    """Return a frame as pandas reads it, with labels 0 to 9 in a column of this number, named by numbers."""
    frame = pd.DataFrame(pixels, columns=[f"pixel{number}" for number in range(784)])
    frame.insert(place, "label", np.arange(len(pixels)) % 10)
    return frame


def shuffled():
    return np.random.default_rng(0).permutation(["label", *(f"pixel{number}" for number in range(784))])


def nested(kind):
    def write(path, pixels):
        pq.write_table(pa.table({"image": pa.array(pixels.reshape(-1, 28, 28).tolist(), kind)}), path)

    return write


def binary(kind):
    def write(path, pixels):
        pq.write_table(pa.table({"pixels": pa.array([row.tobytes() for row in pixels], kind)}), path)

    return write


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
        ("floats.csv", lambda path, pixels: write_csv(path, pixels.astype(float))),
        ("range.csv", lambda path, pixels: pd.DataFrame(pixels).to_csv(path, index=False)),
        ("index.csv", lambda path, pixels: pd.DataFrame(pixels).to_csv(path)),
        ("bare.tsv", lambda path, pixels: pd.DataFrame(pixels).to_csv(path, sep="\t", header=False, index=False)),
        ("semicolons.csv", lambda path, pixels: pd.DataFrame(pixels).to_csv(path, sep=";", index=False)),
        ("quoted.csv", lambda path, pixels: pd.DataFrame(pixels).to_csv(path, index=False, quoting=csv.QUOTE_ALL)),
        ("last.csv", lambda path, pixels: labelled(pixels, 784).to_csv(path, header=False, index=False)),
        ("numbered.csv", lambda path, pixels: labelled(pixels, 784).to_csv(path, header=range(785), index=False)),
        ("shuffled.csv", lambda path, pixels: labelled(pixels, 0)[shuffled()].to_csv(path, index=False)),
        ("float.parquet", with_type(pa.list_(pa.float64()))),
        ("large.parquet", with_type(pa.large_list(pa.float32()))),
        ("decimal.parquet", with_type(pa.list_(pa.decimal128(5, 2)))),
        ("nested.parquet", nested(pa.list_(pa.list_(pa.uint8())))),
        ("cube.parquet", nested(pa.list_(pa.list_(pa.int16(), 28), 28))),
        ("binary.parquet", binary(pa.binary())),
        ("large-binary.parquet", binary(pa.large_binary())),
        ("images.npz", lambda path, pixels: np.savez(path, x=pixels.reshape(-1, 28, 28), y=np.zeros(len(pixels)))),
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
        ("a.csv", lambda path: path.write_bytes(b"\xff\xfe\x01" * 600_001), "not UTF-16 text"),
        ("a.csv", lambda path: path.write_text(",".join(["1"] * 784) + "\n1,2\n"), "Expected 784 columns, got 2"),
        ("a.parquet", lambda path: path.write_bytes(b"PAR1 and then nothing"), "cannot be read after row 0"),
        ("a.parquet", lambda path: pq.write_table(pa.table({"x": [1]}), path), "no column 'pixels'.*it has x"),
        ("a.parquet", lambda path: pq.write_table(pa.table({"pixels": ["x"]}), path), "pixels are string"),
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
            "pixel 0 is missing",
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


def bare(pixels, *holes, label=None):
    """Write lines without a header; `holes` are rows and columns of empty cells."""
    cells = pixels.astype(object)
    for row, column in holes:
        cells[row, column] = ""
    if label is not None:
        cells = np.insert(cells, label[0], label[1], axis=1)
    return "".join(",".join(map(str, row)) + "\n" for row in cells)


@pytest.mark.parametrize("column", [0, 300, 783])
def test_a_first_row_with_a_hole_is_no_header(tmp_path, digits, column):
    pixels = tiny_bundles.images(5)
    (tmp_path / "a.csv").write_text(bare(pixels, (0, column)))
    table = rows_of(tmp_path / "a.csv", digits)
    assert table["row_id"].to_pylist() == [0, 1, 2, 3, 4]
    assert table["reason"].to_pylist() == [f"pixel {column} is missing", None, None, None, None]
    assert np.array_equal(pixels_of(table)[1:], pixels[1:])


@pytest.mark.parametrize("rows", [1, 5])
def test_a_column_that_may_be_the_label_or_a_pixel(tmp_path, digits, rows):
    pixels = np.full((rows, 784), 7, np.uint8)
    (tmp_path / "a.csv").write_text(bare(pixels, label=(0, 3)))
    with pytest.raises(DataError, match="`column_names`"):
        rows_of(tmp_path / "a.csv", digits)
    for names, place in ((["label", "*"], 0), (["*", "label"], 784)):
        (tmp_path / "a.csv").write_text(bare(pixels, label=(place, 3)))
        own = replace(digits, card=digits.card.with_settings({"column_names": names}))
        assert np.array_equal(pixels_of(rows_of(tmp_path / "a.csv", own)), pixels)


def test_images_that_are_stored_column_by_column(tmp_path, digits):
    pixels = tiny_bundles.images(5)
    turned = pixels.reshape(-1, 28, 28).transpose(0, 2, 1).reshape(-1, 784)
    own = replace(digits, card=digits.card.with_settings({"transpose": True}))
    (tmp_path / "a").write_bytes(idx_bytes(np.ascontiguousarray(turned)))
    write_csv(tmp_path / "a.csv", turned)
    for name in ("a", "a.csv"):
        assert np.array_equal(pixels_of(rows_of(tmp_path / name, own)), pixels)


def test_ids_of_any_type_are_kept(tmp_path, digits):
    pixels = tiny_bundles.images(3)
    for ids in (["x", "y", "z"], ["1", "2", "x"], ["007", "8", "9"]):
        path = write_csv(tmp_path / "a.csv", pixels, before={"row_id": ids})
        assert rows_of(path, digits)["row_id"].to_pylist() == ids
        path = write_parquet(tmp_path / "a.parquet", pixels, row_id=ids)
        assert rows_of(path, digits)["row_id"].to_pylist() == ids
    path = write_parquet(tmp_path / "a.parquet", pixels, row_id=[1.0, 2.0, None])
    table = rows_of(path, digits)
    assert table["row_id"].to_pylist() == [1, 2, None]
    assert table["reason"].to_pylist()[2] == "row 2 of the file has no row_id"
