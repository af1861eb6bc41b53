"""Hostile input: it is scored as plain data, quarantined row by row, or rejected whole with what is wrong."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import in_process
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles
from hostile import lists, parquet, pickle_trap
from inboxes import Inbox

from unroll.errors import DataError, FormatError, UnrollError
from unroll.inference.file_scorer import FileScorer
from unroll.inference.predict import predict

Bundle = Callable[[Path], Path]
Score = Callable[[Bundle, str, bytes], in_process.Result]
ONE = tiny_bundles.images(1)
PIXELS = lists([784], pa.array(ONE.reshape(-1)))


@pytest.fixture
def score(tmp_path: Path) -> Score:
    """Scores a file of this content."""

    def scored(bundle: Bundle, name: str, content: bytes) -> in_process.Result:
        source = tmp_path / "in" / name
        source.parent.mkdir(exist_ok=True)
        source.write_bytes(content)
        return in_process.score(bundle(tmp_path / "bundle"), source)

    return scored


def days(*dates: Any, **columns: Any) -> bytes:
    """A Parquet file of prices with these dates."""
    column = dates[0] if len(dates) == 1 and isinstance(dates[0], pa.Array) else pa.array(dates)
    return parquet({"date": column, "close": pa.array(np.arange(len(column)) + 1.0), **columns})


# Pickle


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl", "a.txt", "a.npy", "a"])
@pytest.mark.parametrize("protocol", [0, 4])
def test_a_pickle_in_place_of_data_is_never_unpickled(score: Score, tmp_path: Path, name: str, protocol: int) -> None:
    trap = tmp_path / "sprung"
    bundle = tiny_bundles.classifier if name.endswith((".txt", ".jsonl")) else tiny_bundles.digits
    try:
        score(bundle, name, pickle_trap(trap, protocol))
    except DataError:
        pass
    else:
        assert (name, protocol) == ("a.txt", 0)  # which is text
    assert not trap.exists()


def test_a_pickle_in_the_schema_of_a_parquet_file_is_never_unpickled(score: Score, tmp_path: Path) -> None:
    """Arrow once unpickled an extension type's parameters (CVE-2023-47248)."""
    trap = tmp_path / "sprung"
    metadata = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": pickle_trap(trap)}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table([pa.array(["a"])], pa.schema([pa.field("text", pa.string(), metadata=metadata)])), sink)
    assert score(tiny_bundles.classifier, "a.parquet", sink.getvalue().to_pybytes()).found["rows_scored"] == 1
    assert not trap.exists()


# Names


NAMES = [
    "-rf.parquet",
    "--help.parquet",
    "a\nb.parquet",
    "a\x1b[31m.parquet",
    "a\udcff.parquet",
    "..parquet",
    "$(touch x).parquet",
    "a;b|c&d.parquet",
    "s3:\\\\bucket\\a.parquet",
    "~.parquet",
    "x" * 247 + ".parquet",
]


def test_names_stay_names(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    tiny_bundles.digits(tmp_path / "bundle")
    for number, name in enumerate(NAMES):
        inbox.put_bytes(name, parquet({"row_id": pa.array([number]), "pixels": PIXELS}))
        inbox.put_bytes(f"day=1/{name}", b"garbage")
    report = inbox.score()
    hidden = NAMES.index("..parquet")
    assert (report.counts()["scored"], report.counts()["rejected"]) == (len(NAMES) - 1, len(NAMES) - 1)
    assert inbox.ids("predictions") == [number for number in range(len(NAMES)) if number != hidden]
    assert all(one.file.isprintable() for one in report.files)
    assert {path.name for path in tmp_path.iterdir()} <= {"bundle", "inbox", "predictions", "quarantine", "staging"}
    assert sorted(inbox.files("inbox")) == sorted([*NAMES, *(f"day=1/{name}" for name in NAMES)])


def test_predict_stays_in_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    names = [name for name in NAMES if not name.startswith((".", "x"))]
    for name in names:
        (folder / name).write_bytes(parquet({"pixels": PIXELS}))
    predict(tiny_bundles.digits(tmp_path / "bundle"), folder, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"in", "bundle", "out"}
    assert len(list((tmp_path / "out").iterdir())) == len(list(folder.iterdir())) == len(names)


# What is not a file


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, make_loop, make_device])
def test_what_is_not_a_file_is_not_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    inbox = Inbox(tmp_path)
    tiny_bundles.digits(tmp_path / "bundle")
    inbox.put("b.parquet", 2)
    make(tmp_path / "inbox/a.parquet")
    report = inbox.score()
    assert (report.counts()["scored"], report.counts()["rejected"]) == (1, 0)
    assert inbox.ids("predictions") == [0, 1]
    with pytest.raises(DataError):
        predict(tmp_path / "bundle", tmp_path / "inbox/a.parquet", tmp_path / "out")


# JSON lines


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "a", "text": "b"}', "line 2: not valid JSON: duplicate key 'text'"),
        (b'{"text": "a", "x": {"y": 1, "y": 2}}', "line 2: not valid JSON: duplicate key 'y'"),
        (b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "line 2: not valid JSON: maximum recursion depth"),
        (b'{"text": "a", "id": ' + b"9" * 5000 + b"}", "line 2: not valid JSON: Exceeds the limit"),
        (b'{"text": "a", "x": NaN}', "line 2: not valid JSON: NaN is not JSON"),
        (b'["text"]', "line 2: found .*, expected a JSON object"),
    ],
    ids=["twice", "twice-inside", "deep", "huge-number", "nan", "list"],
)
def test_ambiguous_json_lines(score: Score, line: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        score(tiny_bundles.classifier, "a.jsonl", b'{"text": "a"}\n' + line + b"\n")


def test_numbers_in_place_of_texts_are_quarantined(score: Score) -> None:
    result = score(tiny_bundles.classifier, "a.jsonl", b'{"text": 1e999}\n{"text": "a"}\n{"text": {"$ne": 1}}\n')
    assert result.reasons == {
        0: "text is 'inf' (float), expected text",
        2: "text is \"{'$ne': 1}\" (dict), expected text",
    }


# CSV


FORMULAS = ["=cmd|'/C calc'!A0", "+1+1", "-1", "@SUM(A1)", '=HYPERLINK("http://x.example","y")', "\t=1"]


def test_formulas_are_text_and_stay_as_they_are(score: Score) -> None:
    """Nothing here evaluates a cell; ids go to Parquet unchanged, and so do texts that cannot be scored."""
    quoted = [cell.replace('"', '""') for cell in FORMULAS]
    lines = ["id,text", *(f'"{cell}","{cell}"' for cell in quoted), '"=1+1",""']
    result = score(tiny_bundles.classifier, "a.csv", "\n".join(lines).encode() + b"\n")
    assert result.output["row_id"].to_pylist() == FORMULAS
    assert result.reasons == {"=1+1": "the text has no tokens"}


def test_huge_cells_are_quarantined(score: Score) -> None:
    result = score(tiny_bundles.classifier, "a.csv", b"text\n" + b"a " * 5_000_000 + b"\na b\n")
    assert result.reasons == {0: "text has 10,000,000 characters; a text may have 262,144"}
    result = score(tiny_bundles.classifier, "a.csv", b"id,text\nx,a\n" + b"i" * 1_000_000 + b",a\n")
    assert result.reasons == {None: "row 1 of the file has a row_id of 1,000,000 characters; it may have 1,000"}
    assert result.found["rows_scored"] == 1


@pytest.mark.parametrize("cell", ["=1+1", "1e999", "inf", "9" * 30, "1_0"])
def test_pixels_that_are_not_integers(score: Score, cell: str) -> None:
    with pytest.raises(FormatError, match="invalid value"):
        score(tiny_bundles.digits, "a.csv", ("0," * 783 + "0\n" + "0," * 783 + f"{cell}\n").encode())


# Numbers that are not finite


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_prices_that_are_not_finite(score: Score, value: float) -> None:
    table = {
        "ticker": pa.array(["BAD"] * 3 + ["GOOD"] * 3),
        "date": pa.array(["2020-01-01", "2020-01-02", "2020-01-03"] * 2),
        "close": pa.array([1.0, value, 2.0, 1.0, 2.0, 3.0]),
    }
    result = score(tiny_bundles.last_price, "a.parquet", parquet(table))
    assert result.output["ticker"].to_pylist() == ["GOOD"]
    (reason,) = result.reasons.values()
    assert "in close on 2020-01-02" in reason


@pytest.mark.parametrize("cell", ["nan", "-inf", "1e999", "=1+1"])
def test_prices_of_a_csv_that_are_not_numbers(score: Score, cell: str) -> None:
    lines = ["date,open,high,low,close,volume", f"2020-01-01,1,1,1,{cell},1", "2020-01-02,1,1,1,1,1"]
    with pytest.raises(FormatError, match=r"a\.csv, line 2, column close"):
        score(tiny_bundles.last_price, "a.csv", "\n".join(lines).encode())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_recordings_that_are_not_finite(score: Score, value: float) -> None:
    frames = lists([2, 4], pa.array(np.array([value, 0, 1, 1, 1, 1], np.float32)))
    result = score(tiny_bundles.recordings, "a.parquet", parquet({"frames": frames}))
    assert (result.found["rows_scored"], list(result.reasons)) == (1, [0])


# Dates


@pytest.mark.parametrize(
    "last",
    [
        pa.array([0, 1, 2**31 - 1], pa.int32()).cast(pa.date32()),
        pa.array([-719_529, 1, 2], pa.int32()).cast(pa.date32()),
        pa.array([0, 1, 2_932_896], pa.int32()).cast(pa.date32()),
        pa.array([0, 86_400_000, 9_214_646_400_000_000], pa.timestamp("ms")),
        pa.array([0, 86_400_000, 2**63 - 1], pa.timestamp("ms")),
        pa.array([0, 86_400_000, -(2**63) + 1], pa.timestamp("ms")),
    ],
    ids=["5881580", "year-0", "9999", "293971", "292277-thousand", "long-ago"],
)
def test_dates_beyond_the_calendar_are_quarantined(score: Score, last: pa.Array) -> None:
    good = pa.array([10, 11, 12], pa.int32()).cast(pa.date32()).cast(last.type)
    content = days(pa.concat_arrays([last, good]), ticker=pa.array(["BAD"] * 3 + ["GOOD"] * 3))
    result = score(tiny_bundles.last_price, "a.parquet", content)
    (row,) = result.output.to_pylist()
    assert (row["ticker"], str(row["date"])) == ("GOOD", "1970-01-14")
    (reason,) = result.reasons.values()
    assert "outside 0001-01-01 to 9999-12-24" in reason or "without a date" in reason


@pytest.mark.parametrize("day", ["0000-01-01", "292277-01-09", "2020-13-01", "=TODAY()"])
def test_dates_of_a_csv_that_are_not_dates(score: Score, day: str) -> None:
    lines = ["date,open,high,low,close,volume", "2020-01-01,1,1,1,1,1", f"{day},1,1,1,1,1"]
    with pytest.raises(FormatError, match=r"a\.csv, line 3, column date"):
        score(tiny_bundles.last_price, "a.csv", "\n".join(lines).encode())


# Parquet with unexpected columns


def twice(name: str, **others: pa.Array) -> bytes:
    """A file with two columns of one name."""
    column = others.pop(name)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table([column, column, *others.values()], [name, name, *others]), sink)
    return bytes(sink.getvalue().to_pybytes())


digits, prices = tiny_bundles.digits, tiny_bundles.last_price
UNEXPECTED: dict[str, tuple[Bundle, Callable[[], bytes], str]] = {
    "pixels-twice": (digits, lambda: twice("pixels", pixels=PIXELS), "2 columns 'pixels'"),
    "ids-twice": (digits, lambda: twice("row_id", row_id=pa.array([1]), pixels=PIXELS), "2 columns 'row_id'"),
    "texts-twice": (
        tiny_bundles.classifier,
        lambda: twice("text", text=pa.array(["a"])),
        "more than one column 'text'",
    ),
    "dates-twice": (
        prices,
        lambda: twice("date", date=pa.array(["2020-01-01"]), close=pa.array([1.0])),
        "'date'|date is missing or repeated",
    ),
    "frames-twice": (
        tiny_bundles.recordings,
        lambda: twice("frames", frames=lists([2], pa.array([1.0, 2.0]))),
        "needs one column 'frames'",
    ),
    "struct-for-pixels": (digits, lambda: parquet({"pixels": pa.array([{"a": 1}])}), "pixels is struct<a: int64>"),
    "text-for-pixels": (digits, lambda: parquet({"pixels": pa.array(["0"])}), "pixels is string, expected"),
    "decimal-pixels": (
        digits,
        lambda: parquet({"pixels": lists([784], pa.array(ONE.reshape(-1)).cast(pa.decimal128(5, 2)))}),
        "pixels are decimal",
    ),
    "struct-for-ids": (digits, lambda: parquet({"row_id": pa.array([{"a": 1}]), "pixels": PIXELS}), "row_id is struct"),
    "struct-for-prices": (
        prices,
        lambda: days("2020-01-01", "2020-01-02", close=pa.array([{"a": 1}, {"a": 2}])),
        "cannot be read after row 0",
    ),
    "map-for-frames": (
        tiny_bundles.recordings,
        lambda: parquet({"frames": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))}),
        "expected a list of time steps",
    ),
    "wide-bytes-for-pixels": (
        digits,
        lambda: parquet({"pixels": pa.array([b"0" * 100_000] * 100, pa.binary(100_000))}),
        r"pixels is fixed_size_binary\[100000\], expected",
    ),
    "no-columns": (digits, lambda: parquet({}), "has no column 'pixels'.*it has none"),
    "no-rows": (digits, lambda: parquet({"pixels": pa.array([], pa.list_(pa.uint8()))}), "has no rows"),
    "no-prices": (prices, lambda: days(pa.array([], pa.date32())), "has no rows"),
}


@pytest.mark.parametrize("case", UNEXPECTED)
def test_unexpected_columns_are_rejected(score: Score, case: str) -> None:
    bundle, content, message = UNEXPECTED[case]
    with pytest.raises(DataError, match=message):
        score(bundle, "a.parquet", content())


def test_values_of_other_types_are_read(score: Score) -> None:
    """Decimals are numbers, dictionaries are their values, int96 is a date."""
    stamps = pa.array(np.array(["2020-01-01", "2020-01-02", "2020-01-03"], "datetime64[ns]"))
    ticker = pa.DictionaryArray.from_arrays(pa.array([0, 0, 0], pa.int8()), pa.array(["X"]))
    close = pa.array([1, 2, 3], pa.int32()).cast(pa.decimal128(12, 2))
    content = parquet({"date": stamps, "ticker": ticker, "close": close}, use_deprecated_int96_timestamps=True)
    (row,) = score(prices, "a.parquet", content).output.to_pylist()
    assert (row["row_id"], row["prediction"]) == ("X@2020-01-03", 3.0)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"a": 1}, pa.struct([("a", pa.int64())])),
        ([1], pa.list_(pa.int64())),
        (1, pa.decimal128(5, 2)),
        (b"a", pa.binary()),
    ],
)
def test_what_is_not_text_is_quarantined(score: Score, value: Any, kind: pa.DataType) -> None:
    with pytest.raises(DataError, match="none of 1 rows can be scored; the first is 0: text is "):
        score(tiny_bundles.classifier, "a.parquet", parquet({"text": pa.array([value], kind)}))


def test_a_text_of_control_characters_is_text(score: Score) -> None:
    line = json.dumps({"text": "a \x00\x1b[31m\u202e b", "id": "x\x00\n"})
    (row,) = score(tiny_bundles.classifier, "a.jsonl", line.encode()).output.to_pylist()
    assert row["row_id"] == "x\x00\n"


def test_bytes_that_were_changed_give_an_answer_or_an_error(tmp_path: Path) -> None:
    """In a worker: some end the process, as pyarrow's reader does for a footer whose statistics do not fit together."""
    content = bytearray(parquet({"text": pa.array(["a", "b a", "c"])}, compression="snappy"))
    rng = np.random.default_rng(0)
    rejected = 0
    source, output = tmp_path / "a.parquet", tmp_path / "out.parquet"
    bundle = tiny_bundles.classifier(tmp_path / "bundle")
    with FileScorer(bundle, threads=1, batch_rows=8, memory_mb=512, file_seconds=60.0) as scorer:
        for place in rng.choice(np.arange(4, len(content) - 8), 150, replace=False):
            changed = bytearray(content)
            changed[place] ^= int(rng.integers(1, 256))
            source.write_bytes(changed)
            try:
                scorer.score_file(source, output, quarantine=tmp_path / "q.parquet", metadata={})
            except DataError:
                rejected += 1
    assert rejected > 20


def test_a_name_that_cannot_be_written_is_the_outputs_fault(tmp_path: Path) -> None:
    source = tmp_path / ("x" * 247 + ".parquet")
    source.write_bytes(parquet({"pixels": PIXELS}))
    with pytest.raises(UnrollError, match="cannot be written: File name too long"):
        predict(tiny_bundles.digits(tmp_path / "bundle"), source, tmp_path / "out")
