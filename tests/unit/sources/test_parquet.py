"""Parquet: files and folders of parts, as other tools write them, are one table."""

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from unroll.errors import FormatError
from unroll.sources.forms import is_parquet_folder
from unroll.sources.parquet import read_parquet

FRAME = pd.DataFrame({"n": range(6), "kind": pd.Categorical(list("abcabc")), "day": ["2024/1", "x y", "2024/1"] * 2})


def test_partitions_by_pandas_are_columns(tmp_path):
    FRAME.to_parquet(tmp_path / "x", partition_cols=["kind", "day"], index=False)
    assert is_parquet_folder(tmp_path / "x")
    found = read_parquet(tmp_path / "x").to_pandas().sort_values("n")
    assert found["n"].tolist() == list(range(6))
    assert (found["kind"].tolist(), found["day"].tolist()) == (list("abcabc"), FRAME["day"].tolist())
    # A part alone knows its partitions, too; a column of the file goes before them.
    (part,) = (tmp_path / "x" / "kind=b").rglob("*.parquet")
    assert read_parquet(part)["kind"].to_pylist() == ["b", "b"]
    pq.write_table(pa.table({"kind": [1]}), part)
    assert read_parquet(part)["kind"].to_pylist() == [1]


def test_parts_beside_markers_are_one_table(tmp_path):
    folder = tmp_path / "x"
    ds.write_dataset(
        pa.table(FRAME), folder, format="parquet", basename_template="part-{i}.parquet", max_rows_per_file=2,
        max_rows_per_group=2,
    )  # fmt: skip
    assert is_parquet_folder(folder)
    for name in ("_SUCCESS", ".part-0.parquet.crc", "_committed_1"):
        (folder / name).write_bytes(b"x")
    assert read_parquet(folder)["n"].to_pylist() == list(range(6))
    (folder / "notes.txt").write_text("x")
    with pytest.raises(FormatError, match=r"notes\.txt is not Parquet"):
        read_parquet(folder)


def test_a_null_partition_and_a_part_that_lacks_a_column(tmp_path):
    for value, columns in (("1", {"n": [1], "m": [1]}), ("__HIVE_DEFAULT_PARTITION__", {"n": [2], "m": [2]})):
        (tmp_path / f"k={value}").mkdir()
        pq.write_table(pa.table(columns), tmp_path / f"k={value}" / "a.parquet")
    assert sorted(read_parquet(tmp_path)["k"].to_pylist(), key=str) == ["1", None]
    pq.write_table(pa.table({"n": [3]}), tmp_path / "k=1" / "b.parquet")
    with pytest.raises(FormatError, match=r"b\.parquet has no column 'm'"):
        read_parquet(tmp_path)


def test_a_folder_of_files_is_not_one_table(tmp_path):
    for name in ("a.parquet", "part-1.parquet"):
        pq.write_table(pa.table({"n": [1]}), tmp_path / name)
    assert not is_parquet_folder(tmp_path)
    assert not is_parquet_folder(tmp_path / "a.parquet")
