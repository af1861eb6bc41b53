"""One file, three forms, the same rows; and what is no such file is named with its row."""

import gzip
import re
import struct
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles

from unroll.domains.prices.reader import next_business_day
from unroll.errors import DataError, FormatError
from unroll.inference.batches import rebatched
from unroll.inference.bundle import Bundle, load_bundle
from unroll.inference.forms import form_of
from unroll.inference.readers import open_file


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(tiny_bundles.digits(tmp_path_factory.mktemp("digits")))


@pytest.fixture(scope="module")
def close(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(tiny_bundles.last_price(tmp_path_factory.mktemp("prices")))


def rows_of(path: Path, bundle: Bundle, rows: int = 512) -> pa.Table:
    return pa.Table.from_batches(open_file(path, bundle, rows))


def pixels_of(table: pa.Table) -> np.ndarray:
    return table["inputs"].combine_chunks().flatten().to_numpy().reshape(-1, 784)


def write_csv(
    path: Path, pixels: np.ndarray, *, header: bool = True, before: dict[str, list[int]] | None = None
) -> Path:
    before = before or {}
    lines = [[*before, *(f"{i // 28 + 1}x{i % 28 + 1}" for i in range(pixels.shape[1]))]] if header else []
    lines += [[*(before[name][row] for name in before), *pixels[row]] for row in range(len(pixels))]
    text = "".join(",".join(map(str, line)) + "\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def idx_bytes(pixels: np.ndarray) -> bytes:
    return struct.pack(">IIII", 0x803, len(pixels), 28, 28) + pixels.tobytes()


def write_parquet(path: Path, pixels: np.ndarray, **columns: object) -> Path:
    pq.write_table(tiny_bundles.digits_table(pixels, **columns), path, row_group_size=7)
    return path


def with_type(kind: pa.DataType) -> Callable[[Path, np.ndarray], Path]:
    def write(path: Path, pixels: np.ndarray) -> Path:
        pq.write_table(pa.table({"pixels": pa.array(pixels.tolist(), kind)}), path)
        return path

    return write


def write_bytes(path: Path, pixels: np.ndarray) -> Path:
    column = pa.array([row.tobytes() for row in pixels], pa.binary(784))
    pq.write_table(pa.table({"pixels": column}), path, row_group_size=7)
    return path


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("fixed.parquet", write_parquet),
        ("list.parquet", with_type(pa.list_(pa.int64()))),
        ("large.parquet", with_type(pa.large_list(pa.uint8()))),
        ("bytes.parquet", write_bytes),
        ("plain.csv", write_csv),
        ("packed.csv.gz", write_csv),
        ("labelled.csv", lambda path, pixels: write_csv(path, pixels, before={"label": [3] * len(pixels)})),
        ("bare.csv", lambda path, pixels: write_csv(path, pixels, header=False)),
        (
            "bare-labelled.csv",
            lambda path, pixels: write_csv(path, pixels, header=False, before={"": [3] * len(pixels)}),
        ),
        ("t10k-images-idx3-ubyte", lambda path, pixels: path.write_bytes(idx_bytes(pixels))),
        ("images.gz", lambda path, pixels: path.write_bytes(gzip.compress(idx_bytes(pixels)))),
    ],
)
def test_every_form_gives_the_same_rows(
    tmp_path: Path, digits: Bundle, name: str, write: Callable[[Path, np.ndarray], object]
) -> None:
    pixels = tiny_bundles.images(100)
    write(tmp_path / name, pixels)
    table = rows_of(tmp_path / name, digits, rows=2)
    assert np.array_equal(pixels_of(table), pixels)
    assert table["row_id"].to_pylist() == list(range(100))
    assert [len(chunk) for chunk in table["row_id"].chunks] == [32, 32, 32, 4]


def test_row_ids_of_the_file_are_kept(tmp_path: Path, digits: Bundle) -> None:
    ids = [7, -1, 2**40]
    pixels = tiny_bundles.images(3)
    from_parquet = rows_of(write_parquet(tmp_path / "a.parquet", pixels, row_id=ids), digits)
    from_csv = rows_of(write_csv(tmp_path / "a.csv", pixels, before={"id": ids, "label": [1, 2, 3]}), digits)
    assert from_parquet["row_id"].to_pylist() == from_csv["row_id"].to_pylist() == ids


def test_rebatching_cuts_and_joins_without_losing_a_row() -> None:
    batches = [pa.record_batch({"x": list(range(a, b))}) for a, b in [(0, 5), (5, 5), (5, 9), (9, 10), (10, 31)]]
    for rows in (1, 3, 4, 100):
        out = list(rebatched(iter(batches), rows))
        assert [x for batch in out for x in batch["x"].to_pylist()] == list(range(31))
        assert all(batch.num_rows == rows for batch in out[:-1])
        assert 0 < out[-1].num_rows <= rows


def spoilt(value: object) -> Callable[[Path], object]:
    def write(path: Path) -> object:
        pixels = tiny_bundles.images(5).astype(object)
        pixels[3, 9] = value
        return write_csv(path, pixels)

    return write


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.csv", spoilt("x"), "Row #5: CSV conversion error.*invalid value 'x'"),
        ("a.csv", spoilt("0.5"), "invalid value '0.5'"),
        ("a.csv", lambda path: write_csv(path, tiny_bundles.images(2)[:, :783]), "783 of them pixels; expected 784"),
        ("a.csv", lambda path: path.write_text("\n"), "0 columns"),
        ("a.csv", lambda path: write_csv(path, tiny_bundles.images(0)), r"a\.csv"),
        ("a.csv", lambda path: path.write_bytes(b"\xff\xfe\x01" * 600_000), "first line is longer"),
        ("a.csv", lambda path: path.write_text(",".join(["1"] * 784) + "\n1,2\n"), "Expected 784 columns, got 2"),
        ("a.parquet", lambda path: write_parquet(path, tiny_bundles.images(0)), "has no rows"),
        ("a.parquet", lambda path: path.write_bytes(b""), r"a\.parquet is empty"),
        ("a.parquet", lambda path: path.write_bytes(b"PAR1 and then nothing"), "cannot be read after row 0"),
        ("a.parquet", lambda path: path.write_bytes(b"%PDF-1.7"), "is not Parquet: it starts with b'%PDF'"),
        ("a.pdf", lambda path: path.write_bytes(b"%PDF-1.7"), "neither Parquet nor IDX"),
        ("a.parquet", lambda path: pq.write_table(pa.table({"x": [1]}), path), "no column 'pixels'.*it has x"),
        ("a.parquet", lambda path: pq.write_table(pa.table({"pixels": ["x"]}), path), "pixels is string"),
        ("a.parquet", lambda path: pq.write_table(pa.table({"pixels": [b"x" * 783]}), path), "pixels is binary"),
        ("a.parquet", lambda path: pq.write_table(pa.table({"pixels": [[0.5] * 784]}), path), "pixels are double"),
        ("a.parquet", lambda path: write_parquet(path, tiny_bundles.images(1), row_id=["a"]), "row_id is string"),
        ("images", lambda path: path.write_bytes(idx_bytes(tiny_bundles.images(3))[:-1]), "truncated"),
        ("images", lambda path: path.write_bytes(struct.pack(">IIII", 0x803, 1, 32, 32) + bytes(1024)), "32 × 32"),
        ("labels", lambda path: path.write_bytes(struct.pack(">II", 0x801, 1) + b"\x05"), "labels"),
        ("i.gz", lambda path: path.write_bytes(gzip.compress(idx_bytes(tiny_bundles.images(3)))[:-200]), "gzip"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, digits: Bundle, name: str, write: Callable[[Path], object], message: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(DataError, match=message) as caught:
        rows_of(tmp_path / name, digits)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("value", [256, -1, 70_000, ""])
def test_a_row_of_a_csv_that_cannot_be_scored(tmp_path: Path, digits: Bundle, value: object) -> None:
    spoilt(value)(tmp_path / "a.csv")
    table = rows_of(tmp_path / "a.csv", digits)
    reason = "pixel 9 is missing" if value == "" else f"pixel 9 is {value}, expected 0–255"
    assert table["reason"].to_pylist() == [None, None, None, reason, None]
    good = [0, 1, 2, 4]
    assert np.array_equal(pixels_of(table)[good], tiny_bundles.images(5)[good])


def test_rows_of_a_parquet_that_cannot_be_scored(tmp_path: Path, digits: Bundle) -> None:
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


def test_a_file_cut_short_in_the_middle_of_its_rows(tmp_path: Path, digits: Bundle) -> None:
    path = write_parquet(tmp_path / "a.parquet", tiny_bundles.images(50))
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"a\.parquet cannot be read after row \d+"):
        rows_of(path, digits)


def test_kinds_are_told_by_content(tmp_path: Path) -> None:
    path = tmp_path / "digits"
    write_parquet(path, tiny_bundles.images(1))
    assert form_of(path) == "parquet"
    path.write_bytes(idx_bytes(tiny_bundles.images(1)))
    assert form_of(path) == "idx"
    with pytest.raises(FormatError, match="nothing"):
        form_of(tmp_path / "nothing")


# 2018-08-24 is a Friday.
DAYS = [date(2018, 8, 21), date(2018, 8, 22), date(2018, 8, 23), date(2018, 8, 24)]


def price_table(**closes: list[float | None]) -> pa.Table:
    rows = [(ticker, DAYS[i], close) for ticker, column in closes.items() for i, close in enumerate(column)]
    columns = dict(zip(("ticker", "date", "close"), zip(*rows, strict=True), strict=True))
    ones = {name: [1.0] * len(rows) for name in ("open", "high", "low", "volume")}
    return pa.table({**columns, **ones})


def test_the_last_days_of_every_ticker_whatever_the_order(tmp_path: Path, close: Bundle) -> None:
    table = price_table(B=[1, 2, 3, 4], A=[10, 20, 30])
    shuffled = table.take([6, 2, 0, 5, 1, 3, 4])
    pq.write_table(shuffled, tmp_path / "p.parquet", row_group_size=2)
    out = rows_of(tmp_path / "p.parquet", close)
    assert out.drop_columns(["inputs", "reason"]).to_pylist() == [
        {"row_id": "A@2018-08-23", "ticker": "A", "last_date": DAYS[2], "date": DAYS[3], "last_price": 30},
        {"row_id": "B@2018-08-24", "ticker": "B", "last_date": DAYS[3], "date": date(2018, 8, 27), "last_price": 4},
    ]
    assert out["inputs"].to_pylist() == [[10, 20, 30], [2, 3, 4]]


def test_many_batches_of_days_give_what_one_gives(
    tmp_path: Path, close: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(1)
    days = np.arange("2015-01-01", "2016-01-01", dtype="datetime64[D]")
    table = pa.table(
        {
            "Date": pa.array(np.tile(days, 5)),
            "symbol": np.repeat(list("VWXYZ"), len(days)),
            "Close": random.random(5 * len(days)) + 1,
        }
    ).take(random.permutation(5 * len(days)))
    pq.write_table(table, tmp_path / "p.parquet")
    whole = rows_of(tmp_path / "p.parquet", close)
    monkeypatch.setattr("unroll.domains.prices.reader._BATCH_ROWS", 11)
    assert rows_of(tmp_path / "p.parquet", close) == whole
    newest = {row["symbol"]: row["Close"] for row in table.sort_by("Date").to_pylist()}
    assert whole["last_price"].to_pylist() == [newest[ticker] for ticker in "VWXYZ"]


def test_csv_and_parquet_of_prices_agree_and_the_name_is_the_ticker(tmp_path: Path, close: Bundle) -> None:
    table = price_table(A=[1, 2, 3, 4]).drop_columns("ticker")
    pq.write_table(table, tmp_path / "BRK.B.parquet")
    lines = [
        ",".join(table.column_names),
        *(",".join(str(value) for value in row.values()) for row in table.to_pylist()),
    ]
    (tmp_path / "BRK.B.csv").write_text("\n".join(lines))
    from_csv = rows_of(tmp_path / "BRK.B.csv", close)
    assert from_csv == rows_of(tmp_path / "BRK.B.parquet", close)
    assert from_csv["row_id"].to_pylist() == ["BRK.B@2018-08-24"]


@pytest.mark.parametrize(
    ("closes", "reason"),
    [
        ([1, 2], "has 2 rows, the model needs 3"),
        ([1, 2, None], "has no value in close on 2018-08-23"),
        ([1, 2, 0], "has 0 in close on 2018-08-23"),
        ([1, -2, 3], "has -2 in close on 2018-08-22"),
        ([1, 2, float("inf")], "has inf in close on 2018-08-23"),
        ([1, 2, 1e300], r"has 1e\+300 in close on 2018-08-23"),
    ],
)
def test_a_ticker_that_cannot_be_scored_is_reported_and_the_others_are_read(
    tmp_path: Path, close: Bundle, closes: list[float | None], reason: str
) -> None:
    pq.write_table(price_table(GOOD=[1, 2, 3], BAD=closes), tmp_path / "p.parquet")
    table = rows_of(tmp_path / "p.parquet", close, 10)
    assert table["ticker"].to_pylist() == ["BAD", "GOOD"]
    bad, good = table["reason"].to_pylist()
    assert re.fullmatch(reason, bad)
    assert good is None
    assert table["last_price"].to_pylist() == [None, 3.0]


def test_a_row_without_a_date_costs_its_ticker_and_one_without_ticker_the_file(tmp_path: Path, close: Bundle) -> None:
    columns = {"date": [*DAYS[:3], *DAYS[:3], None], "close": [1.0] * 7}
    pq.write_table(pa.table({"ticker": list("AAABBBB"), **columns}), tmp_path / "p.parquet")
    table = rows_of(tmp_path / "p.parquet", close)
    assert table["row_id"].to_pylist() == ["A@2018-08-23", "B@2018-08-23"]
    assert table["reason"].to_pylist() == [None, "has a row without a date"]
    pq.write_table(pa.table({"ticker": [*"AAABBB", None], **columns}), tmp_path / "p.parquet")
    with pytest.raises(DataError, match="row 7: ticker is missing"):
        list(open_file(tmp_path / "p.parquet", close, 10))


def test_two_rows_of_one_day_within_the_window_are_reported(tmp_path: Path, close: Bundle) -> None:
    table = price_table(A=[1, 2, 3, 4])
    pq.write_table(pa.concat_tables([table, table.slice(1, 1)]), tmp_path / "p.parquet")
    assert rows_of(tmp_path / "p.parquet", close, 10)["reason"].to_pylist() == ["has two rows of 2018-08-22"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"date": DAYS, "price": [1, 2, 3, 4]}), "close is missing or stands twice: it has date, price"),
        (pa.table({"date": DAYS, "close": ["1", "2", "x", "4"]}), "cannot be read"),
        (pa.table({"date": DAYS, "close": [1, 2, 3, 4]}).slice(0, 0), "has no rows"),
    ],
)
def test_price_files_that_cannot_be_read(tmp_path: Path, close: Bundle, table: pa.Table, message: str) -> None:
    pq.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(DataError, match=message):
        list(open_file(tmp_path / "p.parquet", close, 10))


def test_images_are_no_prices(tmp_path: Path, close: Bundle) -> None:
    (tmp_path / "images").write_bytes(idx_bytes(tiny_bundles.images(1)))
    with pytest.raises(FormatError, match="images is IDX; tiny-price reads prices: give it Parquet or CSV"):
        open_file(tmp_path / "images", close, 10)


def test_the_next_business_day() -> None:
    days = np.array(["2018-08-23", "2018-08-24", "2018-08-25", "2018-08-26", "2018-12-31"], "datetime64[D]")
    monday = "2018-08-27"
    assert next_business_day(days).astype(str).tolist() == ["2018-08-24", monday, monday, monday, "2019-01-01"]
