"""Sequences of numbers in Parquet, nested or flat, of one length or of several."""

from pathlib import Path
from typing import Any

import in_process
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles

from unroll.errors import DataError
from unroll.inference.bundle import Bundle, load_bundle
from unroll.inference.readers import open_file

FRAMES = [[[0.0, 9.0], [1.0, 9.0]], [[2.0, 9.0]], [[1.0, 9.0]] * 3]
STRIPS = [[[0, 25], [50, 1], [0, 0], [225, 250]], [[25, 25]] * 4]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(tiny_bundles.recordings(tmp_path_factory.mktemp("recordings")))


@pytest.fixture(scope="module")
def strips(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(tiny_bundles.strips(tmp_path_factory.mktemp("strips")))


def rows_of(path: Path, bundle: Bundle, values: Any, **columns: Any) -> pa.Table:
    name = bundle.card.array.column
    pq.write_table(pa.table({**columns, name: values}), path, row_group_size=2)
    return pa.Table.from_batches(open_file(path, bundle, 512))


@pytest.mark.parametrize(
    "values",
    [
        pa.array(FRAMES, pa.list_(pa.list_(pa.float32(), 2))),
        pa.array(FRAMES, pa.large_list(pa.list_(pa.float64()))),
        pa.array([np.ravel(row).tolist() for row in FRAMES], pa.list_(pa.float32())),
        pa.array(FRAMES, pa.list_(pa.list_(pa.int16()))),
    ],
    ids=["fixed", "nested", "flat", "whole"],
)
def test_every_form_gives_the_same_frames(tmp_path: Path, recordings: Bundle, values: pa.Array) -> None:
    table = rows_of(tmp_path / "a.parquet", recordings, values, row_id=["x", "y", "z"])
    assert table["inputs"].to_pylist() == [np.ravel(row).tolist() for row in FRAMES]
    assert table["inputs"].type.value_type == pa.float32()
    assert table["row_id"].to_pylist() == ["x", "y", "z"]
    assert table["reason"].null_count == 3


def test_a_recording_without_frames_or_with_a_hole_is_set_aside(tmp_path: Path, recordings: Bundle) -> None:
    values = [*FRAMES, [], None, [[1.0, 9.0], [1.0, float("nan")]], [[float("inf"), 0.0]]]
    table = rows_of(tmp_path / "a.parquet", recordings, pa.array(values, pa.list_(pa.list_(pa.float32()))))
    empty, hole = "there is no time step", "a value is not finite"
    assert table["reason"].to_pylist() == [None] * 3 + [empty, empty, hole, hole]
    assert table["row_id"].to_pylist() == list(range(7))


def test_recordings_are_scored_by_their_own_frames(tmp_path: Path, recordings: Bundle) -> None:
    values = [[[float(row % 3), 5.0]] * (1 + row % 7) for row in range(40)] + [[]]
    pq.write_table(pa.table({"frames": values}), tmp_path / "a.parquet")
    result = in_process.score(recordings.folder, tmp_path / "a.parquet", batch_rows=3)
    assert result.output["prediction"].to_pylist() == [row % 3 for row in range(40)]
    assert result.reasons == {40: "there is no time step"}


def test_strips_get_a_label_for_every_column(tmp_path: Path, strips: Bundle) -> None:
    pq.write_table(pa.table({"pixels": pa.array(STRIPS, pa.list_(pa.list_(pa.uint8())))}), tmp_path / "a.parquet")
    flat = [np.ravel(row).tolist() for row in STRIPS]
    pq.write_table(pa.table({"pixels": pa.array(flat, pa.list_(pa.int64()))}), tmp_path / "b.parquet")
    for name in ("a", "b"):
        out = in_process.score(strips.folder, tmp_path / f"{name}.parquet").output
        assert out["prediction"].type == pa.list_(pa.int64())
        assert out["prediction"].to_pylist() == [[1, 2, 0, 10], [1, 1, 1, 1]]
        assert out["score"].to_numpy() == pytest.approx([0.325, 0.1])


def test_rows_of_a_free_but_equal_number_of_steps(tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundles.strips(tmp_path / "free", columns="time"))
    assert len(rows_of(tmp_path / "a.parquet", bundle, [[[1, 2]] * 3, [], [[3, 4]] * 3])) == 3
    table = rows_of(tmp_path / "a.parquet", bundle, [[[1, 2]] * 3, [], [[3, 4]] * 2])
    assert table["reason"].to_pylist() == [None, "there is no time step", "2 time steps, expected 3 as in all rows"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([[1, 2]] * 5, "5 time steps, expected 4 as in all rows"),
        ([[1, 2], [1, 2], [1], [1, 2]], "a time step of 1 values, expected 2"),
        ([[1, 2], [1, 2], [1, None], [1, 2]], "a value is missing"),
        ([[1, 2], None, [1, 2], [1, 2]], "a time step of 0 values, expected 2"),
        ([[1, 2], [1, 2], [1, 256], [1, 2]], "a value is 256, expected whole numbers 0–255"),
        ([[1, -2]] * 4, "a value is -2, expected whole numbers 0–255"),
        (None, "there is no time step"),
    ],
)
def test_a_row_that_does_not_fit_is_set_aside(
    tmp_path: Path, strips: Bundle, row: list[list[int]] | None, reason: str
) -> None:
    good = [[[1, 2]] * 4, [[3, 4]] * 4]
    table = rows_of(tmp_path / "a.parquet", strips, [good[0], row, good[1]])
    assert table["reason"].to_pylist() == [None, reason, None]
    assert table["inputs"].to_pylist() == [[1, 2] * 4, [], [3, 4] * 4]


def test_flat_rows_that_do_not_fit_and_ids_that_are_none(tmp_path: Path, strips: Bundle) -> None:
    rows = [[1, 2] * 4, [1, 2, 3], [1, None] * 4, [5, 6] * 4, [7, 8] * 4]
    table = rows_of(tmp_path / "a.parquet", strips, rows, row_id=["a", "b", "c", None, "e"])
    assert table["reason"].to_pylist() == [
        None,
        "3 values, which is not a multiple of 2, the values of a time step",
        "a value is missing",
        "row 3 of the file has no row_id",
        None,
    ]
    assert table["inputs"].to_pylist() == [[1, 2] * 4, [], [], [], [7, 8] * 4]
    assert table["row_id"].to_pylist() == ["a", "b", "c", None, "e"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[[0.5, 1.0]] * 4], "the values are double, expected whole numbers|the values are float64"),
        ([[["a", "b"]] * 4], r"the values are .*string.*, expected numbers"),
        ([5], "the column is int64, expected a list of time steps of 2 numbers"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, strips: Bundle, values: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        rows_of(tmp_path / "a.parquet", strips, values)
    assert "a.parquet" in str(caught.value)


def test_another_column_or_another_form(tmp_path: Path, strips: Bundle) -> None:
    pq.write_table(pa.table({"frames": FRAMES}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="needs one column 'pixels'; it has frames"):
        list(open_file(tmp_path / "a.parquet", strips, 1))
    (tmp_path / "a.csv").write_text("pixels\n1\n")
    with pytest.raises(DataError, match="is CSV; tiny-strip-columns reads arrays: give it Parquet"):
        open_file(tmp_path / "a.csv", strips, 1)
    pq.write_table(pa.table({"pixels": STRIPS}).slice(0, 0), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="has no rows"):
        list(open_file(tmp_path / "a.parquet", strips, 1))
