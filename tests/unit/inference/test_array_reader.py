"""Forms of files, and sequences of numbers from Parquet."""

import struct
from typing import Any

import in_process
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles

from unroll.errors import DataError, FormatError
from unroll.inference.batches import open_file, rebatched
from unroll.inference.bundle import load_bundle
from unroll.sources.forms import form_of


@pytest.mark.parametrize(
    ("name", "content", "form"),
    [
        ("digits", b"PAR1", "parquet"),
        ("images.csv", struct.pack(">I", 0x803), "idx"),
        ("a.CSV", b"a", "csv"),
        ("a.ndjson.gz", b"a", "jsonl"),
        ("a.tsv", b"a", "tsv"),
    ],
)
def test_the_form_of_a_file(tmp_path, name, content, form):
    (tmp_path / name).write_bytes(content)
    assert form_of(tmp_path / name) == form


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", b"%PDF-1.7", "is not Parquet: it starts with b'%PDF'"),
        ("a.pdf", b"%PDF-1.7", "is a PDF document"),
        ("a.dat", b"a,b", "neither Parquet nor IDX"),
        ("a.csv", b"", "is empty"),
        ("a.gz", b"\x1f\x8b\x08\x00", "gzip"),
    ],
)
def test_files_of_no_known_form(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=message):
        form_of(tmp_path / name)
    with pytest.raises(FormatError, match="nothing"):
        form_of(tmp_path / "nothing")


def test_rebatching_cuts_and_joins_without_losing_a_row():
    batches = [pa.record_batch({"x": list(range(a, b))}) for a, b in [(0, 5), (5, 5), (5, 9), (9, 10), (10, 31)]]
    for rows in (1, 3, 4, 100):
        out = list(rebatched(iter(batches), rows))
        assert [x for batch in out for x in batch["x"].to_pylist()] == list(range(31))
        assert all(batch.num_rows == rows for batch in out[:-1])
        assert 0 < out[-1].num_rows <= rows
    # Batches of 8 bytes a row end at 40 bytes and more.
    assert [len(batch) for batch in rebatched(iter(batches), 100, size=39)] == [5, 5, 21]


FRAMES = [[[0.0, 9.0], [1.0, 9.0]], [[2.0, 9.0]], [[1.0, 9.0]] * 3]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return load_bundle(tiny_bundles.recordings(tmp_path_factory.mktemp("recordings")))


@pytest.fixture(scope="module")
def strips(tmp_path_factory):
    return load_bundle(tiny_bundles.strips(tmp_path_factory.mktemp("strips")))


def rows_of(folder, bundle, values, **columns):
    name = bundle.card.array.column
    pq.write_table(pa.table({**columns, name: values}), folder / "a.parquet", row_group_size=2)
    return pa.Table.from_batches(open_file(folder / "a.parquet", bundle, 512))


@pytest.mark.parametrize(
    "values",
    [
        pa.array(FRAMES, pa.list_(pa.list_(pa.float32(), 2))),
        pa.array(FRAMES, pa.large_list(pa.list_(pa.float64()))),
        pa.array([np.ravel(row).tolist() for row in FRAMES], pa.list_(pa.float32())),
        pa.array(FRAMES, pa.list_(pa.list_(pa.int16()))),
    ],
    ids=["fixed", "nested", "flat", "integers"],
)
def test_every_type_gives_the_same_frames(tmp_path, recordings, values):
    table = rows_of(tmp_path, recordings, values, row_id=["x", "y", "z"])
    assert table["inputs"].to_pylist() == [np.ravel(row).tolist() for row in FRAMES]
    assert table["inputs"].type.value_type == pa.float32()
    assert table["row_id"].to_pylist() == ["x", "y", "z"]
    assert table["reason"].null_count == 3


def test_recordings_are_scored_by_their_own_frames(tmp_path, recordings):
    values = [[[float(row % 3), 5.0]] * (1 + row % 7) for row in range(40)]
    bad = [[], None, [[1.0, float("nan")]], [[float("inf"), 0.0]]]
    pq.write_table(pa.table({"frames": pa.array(values + bad)}), tmp_path / "a.parquet")
    result = in_process.score(recordings.folder, tmp_path / "a.parquet", batch_rows=3)
    assert result.output["prediction"].to_pylist() == [row % 3 for row in range(40)]
    assert sorted(result.reasons) == [40, 41, 42, 43]


def test_strips_get_a_label_for_every_column(tmp_path, strips):
    rows = [[[0, 25], [50, 1], [0, 0], [225, 250]], [[25, 25]] * 4]
    for values in (
        pa.array(rows, pa.list_(pa.list_(pa.uint8()))),
        pa.array([np.ravel(row).tolist() for row in rows], pa.list_(pa.int64())),
    ):
        pq.write_table(pa.table({"pixels": values}), tmp_path / "a.parquet")
        out = in_process.score(strips.folder, tmp_path / "a.parquet").output
        assert out["prediction"].to_pylist() == [[1, 2, 0, 10], [1, 1, 1, 1]]
        assert out["score"].to_numpy() == pytest.approx([0.325, 0.1])


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ([[1, 2]] * 5, "5 time steps, expected 4"),
        ([[1, 2], [1, 2], [1], [1, 2]], "1 values, expected 2"),
        ([[1, 2], [1, 2], [1, None], [1, 2]], "missing"),
        ([[1, 2], [1, 2], [1, 256], [1, 2]], "256"),
        (None, "no time step"),
        ([1, 2, 3], "3 values"),
    ],
)
def test_a_row_that_does_not_fit_is_rejected(tmp_path, strips, row, part):
    good: list[Any] = [[[1, 2]] * 4, [[3, 4]] * 4, [[5, 6]] * 4]
    if row == [1, 2, 3]:
        good = [np.ravel(one).tolist() for one in good]
    table = rows_of(tmp_path, strips, [good[0], row, good[1], good[2]], row_id=["a", "b", "c", None])
    first, second, third, last = table["reason"].to_pylist()
    assert (first, third) == (None, None)
    assert part in second
    assert "row 3 of the file" in last
    assert table["inputs"].to_pylist() == [[1, 2] * 4, [], [3, 4] * 4, []]
    assert table["row_id"].to_pylist() == ["a", "b", "c", None]


@pytest.mark.parametrize(
    ("name", "values", "part"),
    [
        ("pixels", [[[0.5, 1.0]] * 4], "expected whole numbers 0–255"),
        ("pixels", pa.array([], pa.list_(pa.int64())), "no rows"),
        ("frames", FRAMES, "'pixels'.*frames"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path, strips, name, values, part):
    pq.write_table(pa.table({name: values}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=rf"a\.parquet.*{part}"):
        list(open_file(tmp_path / "a.parquet", strips, 1))
