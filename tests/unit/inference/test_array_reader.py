"""Sequences of numbers from Parquet, nested or flat, of one length or of several."""

from pathlib import Path
from typing import Any

import in_process
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles

from unroll.errors import DataError
from unroll.inference.batches import open_file
from unroll.inference.bundle import Bundle, load_bundle

FRAMES = [[[0.0, 9.0], [1.0, 9.0]], [[2.0, 9.0]], [[1.0, 9.0]] * 3]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(tiny_bundles.recordings(tmp_path_factory.mktemp("recordings")))


@pytest.fixture(scope="module")
def strips(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(tiny_bundles.strips(tmp_path_factory.mktemp("strips")))


def rows_of(folder: Path, bundle: Bundle, values: Any, **columns: Any) -> pa.Table:
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
def test_every_type_gives_the_same_frames(tmp_path: Path, recordings: Bundle, values: pa.Array) -> None:
    table = rows_of(tmp_path, recordings, values, row_id=["x", "y", "z"])
    assert table["inputs"].to_pylist() == [np.ravel(row).tolist() for row in FRAMES]
    assert table["inputs"].type.value_type == pa.float32()
    assert table["row_id"].to_pylist() == ["x", "y", "z"]
    assert table["reason"].null_count == 3


def test_recordings_are_scored_by_their_own_frames(tmp_path: Path, recordings: Bundle) -> None:
    values = [[[float(row % 3), 5.0]] * (1 + row % 7) for row in range(40)]
    bad = [[], None, [[1.0, float("nan")]], [[float("inf"), 0.0]]]
    pq.write_table(pa.table({"frames": pa.array(values + bad)}), tmp_path / "a.parquet")
    result = in_process.score(recordings.folder, tmp_path / "a.parquet", batch_rows=3)
    assert result.output["prediction"].to_pylist() == [row % 3 for row in range(40)]
    assert sorted(result.reasons) == [40, 41, 42, 43]


def test_strips_get_a_label_for_every_column(tmp_path: Path, strips: Bundle) -> None:
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
def test_a_row_that_does_not_fit_is_rejected(tmp_path: Path, strips: Bundle, row: Any, part: str) -> None:
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


def test_rows_of_an_open_but_equal_number_of_steps(tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundles.strips(tmp_path / "free", columns="time"))
    table = rows_of(tmp_path, bundle, [[[1, 2]] * 3, [], [[3, 4]] * 3, [[3, 4]] * 2])
    assert table["reason"].is_null().to_pylist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("name", "values", "part"),
    [
        ("pixels", [[[0.5, 1.0]] * 4], "expected whole numbers 0–255"),
        ("pixels", pa.array([], pa.list_(pa.int64())), "no rows"),
        ("frames", FRAMES, "'pixels'.*frames"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, strips: Bundle, name: str, values: Any, part: str) -> None:
    pq.write_table(pa.table({name: values}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=rf"a\.parquet.*{part}"):
        list(open_file(tmp_path / "a.parquet", strips, 1))
