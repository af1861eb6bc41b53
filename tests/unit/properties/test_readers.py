"""Random tables in the forms that other tools write: the same rows and values come back, or an error; never others."""

import csv
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import tiny_bundles
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unroll.config.sources import TableSettings
from unroll.errors import DataError, FormatError
from unroll.inference.batches import open_file
from unroll.inference.bundle import load_bundle
from unroll.sources.layouts import read_table

random_tables = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
CELLS = st.text(st.sampled_from("ab é'\",;|\t\n0159.-#"), max_size=8)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    found = (tiny_bundles.classifier(folder / "texts"), tiny_bundles.digits(folder / "digits"))
    return [load_bundle(one) for one in found]


def by_pandas(frame, path, separator, quoting, end):
    frame.to_csv(path, sep=separator, index=False, quoting=quoting, lineterminator=end)


def by_csv(frame, path, separator, quoting, end):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=separator, quoting=quoting, lineterminator=end)
        writer.writerows([[*frame.columns], *frame.to_numpy().tolist()])


def by_arrow(frame, path, separator, quoting, end):
    del end
    style = "needed" if quoting == csv.QUOTE_MINIMAL else "all_valid"
    options = pa_csv.WriteOptions(delimiter=separator, quoting_style=style)
    pa_csv.write_csv(pa.Table.from_pandas(frame, preserve_index=False), path, options)


@random_tables
@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=6),
    write=st.sampled_from([by_pandas, by_csv, by_arrow]),
    separator=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
    told=st.booleans(),
)
def test_cells_of_a_table(tmp_path, rows, write, separator, quoting, end, told):
    path = tmp_path / ("a.tsv" if separator == "\t" else "a.csv")
    write(pd.DataFrame(rows, columns=["id", "text", "label"]), path, separator, quoting, end)
    names, found, open_setting = [], [], ""
    try:
        names, found = read_table(path, TableSettings(separator=separator if told else None), ("text", "label"))
    except FormatError as error:
        open_setting = str(error)
    if open_setting:
        # Quotes between tabs, and a separator, can be open.
        assert ("`quotes`" if separator == "\t" else "`separator`") in open_setting
        return
    assert names == ["id", "text", "label"]
    assert [tuple(cells) for _, cells in found] == rows


IDS = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=6, max_size=6),
    st.lists(st.integers(0, 2**53).map(float), min_size=6, max_size=6),
    st.lists(st.uuids().map(str), min_size=6, max_size=6),
    st.lists(st.decimals(0, 10**6, places=2), min_size=6, max_size=6),
    st.lists(st.dates(), min_size=6, max_size=6),
    st.lists(st.sampled_from(["7", "007", "x", "1.0", "é"]), min_size=6, max_size=6),
)


@random_tables
@given(
    texts=st.lists(st.one_of(st.none(), st.text(st.sampled_from("abh \n\"'é"), max_size=6)), min_size=6, max_size=6),
    ids=IDS,
    kind=st.sampled_from([pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]),
    group=st.integers(1, 6),
)
def test_texts_and_ids_of_a_parquet_file(tmp_path, models, texts, ids, kind, group):
    pq.write_table(pa.table({"row_id": ids, "text": pa.array(texts).cast(kind)}), tmp_path / "a.parquet", group)
    table = pa.Table.from_batches(open_file(tmp_path / "a.parquet", models[0], 2))
    assert table["text"].to_pylist() == texts
    for value, found in zip(ids, table["row_id"].to_pylist(), strict=True):
        assert str(found) == str(value) or (isinstance(value, float | Decimal) and Decimal(found) == Decimal(value))


@random_tables
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 5),
    label=st.sampled_from([None, 0, 784]),
    header=st.sampled_from(["names", "numbers", "none"]),
    index=st.booleans(),
    floats=st.booleans(),
    holes=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 783)), max_size=2),
    separator=st.sampled_from(",;\t"),
)
def test_pixels_of_a_table(tmp_path, models, seed, rows, label, header, index, floats, holes, separator):
    pixels = tiny_bundles.images(rows, seed)
    cells = pd.DataFrame(pixels.astype(float if floats or holes else np.uint8))
    cells.columns = [f"pixel{number}" for number in range(784)]
    holes = [(row, column) for row, column in holes if row < rows]
    for row, column in holes:
        cells.iloc[row, column] = np.nan
    if label is not None:
        cells.insert(label, "label", np.arange(rows) % 10)
    names = {"names": True, "numbers": [str(number) for number in range(cells.shape[1])], "none": False}[header]
    path = tmp_path / ("a.tsv" if separator == "\t" else "a.csv")
    cells.to_csv(path, sep=separator, header=names, index=index and header != "none")
    open_setting = ""
    try:
        table = pa.Table.from_batches(open_file(path, models[1], 2))
    except DataError as error:
        open_setting = str(error)
    if open_setting:
        # A label without a name may be a pixel.
        assert "none of" in open_setting or ("column_names" in open_setting and label is not None)
        return
    assert table["row_id"].to_pylist() == list(range(rows))
    bad = {row for row, _ in holes}
    assert [reason is not None for reason in table["reason"].to_pylist()] == [row in bad for row in range(rows)]
    found = table["inputs"].combine_chunks().flatten().to_numpy().reshape(-1, 784)
    good = [row for row in range(rows) if row not in bad]
    assert np.array_equal(found[good], pixels[good])


@random_tables
@given(
    seed=st.integers(0, 10**6),
    number=st.sampled_from([pa.uint8(), pa.int64(), pa.float32(), pa.float64(), pa.decimal128(5, 2)]),
    shape=st.sampled_from(["list", "large", "fixed", "nested", "binary", "large binary", "fixed binary"]),
    missing=st.sets(st.integers(0, 4), max_size=3),
    group=st.integers(1, 5),
)
def test_pixels_of_a_parquet_file(tmp_path, models, seed, number, shape, missing, group):
    pixels = tiny_bundles.images(5, seed)
    if "binary" in shape:
        kind = {"binary": pa.binary(), "large binary": pa.large_binary(), "fixed binary": pa.binary(784)}[shape]
        values = [row.tobytes() for row in pixels]
    else:
        lists = {"list": pa.list_(number), "large": pa.large_list(number), "fixed": pa.list_(number, 784)}
        kind = lists.get(shape) or pa.list_(pa.list_(number))
        values = pixels.reshape(-1, 28, 28).tolist() if shape == "nested" else pixels.tolist()
    column = pa.array([None if row in missing else value for row, value in enumerate(values)], kind)
    pq.write_table(pa.table({"pixels": column}), tmp_path / "a.parquet", group)
    if shape == "fixed" and missing:
        with pytest.raises(FormatError, match="lists of variable size"):
            pa.Table.from_batches(open_file(tmp_path / "a.parquet", models[1], 2))
        return
    table = pa.Table.from_batches(open_file(tmp_path / "a.parquet", models[1], 2))
    assert [reason is not None for reason in table["reason"].to_pylist()] == [row in missing for row in range(5)]
    found = table["inputs"].combine_chunks().flatten().to_numpy().reshape(-1, 784)
    good = [row for row in range(5) if row not in missing]
    assert np.array_equal(found[good], pixels[good])
