"""Input that means harm: it is scored as plain data, set aside row by row, or refused whole with what is wrong."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles
from hostile import lists, parquet, pickle_trap, scored_elsewhere
from inboxes import Inbox

from unroll.errors import DataError, FormatError, UnrollError
from unroll.inference.file_scorer import Scored
from unroll.inference.predict import predict

Bundle = Callable[[Path], Path]
ONE = tiny_bundles.images(1)


@pytest.fixture
def scored(tmp_path: Path) -> Callable[..., Scored]:
    """Scores a file of this content."""

    def score(bundle: Bundle, name: str, content: bytes) -> Scored:
        source = tmp_path / "in" / name
        source.parent.mkdir(exist_ok=True)
        source.write_bytes(content)
        (found,) = predict(bundle(tmp_path / "bundle"), source, tmp_path / "out").files
        return found

    return score


def rows_of(path: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(path).to_pylist())


def reasons(done: Scored) -> dict[Any, str]:
    """Of the rows set aside, by id."""
    assert done.set_aside is not None
    return {row["row_id"]: row["reason"] for row in rows_of(done.set_aside.output)}


def days(*dates: Any, **columns: Any) -> bytes:
    """A Parquet file of prices with these dates."""
    column = dates[0] if len(dates) == 1 and isinstance(dates[0], pa.Array) else pa.array(dates)
    return parquet({"date": column, "close": pa.array(np.arange(len(column)) + 1.0), **columns})


# Pickle


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl", "a.txt", "a.npz", "a.npy", "a.pkl", "a"])
@pytest.mark.parametrize("protocol", [0, 4])
def test_a_pickle_in_place_of_data_is_never_unpickled(
    scored: Callable[..., Scored], tmp_path: Path, name: str, protocol: int
) -> None:
    trap = tmp_path / "sprung"
    bundle = tiny_bundles.classifier if name.endswith((".txt", ".jsonl")) else tiny_bundles.digits
    try:
        scored(bundle, name, pickle_trap(trap, protocol))
    except DataError:
        pass
    else:
        assert (name, protocol) == ("a.txt", 0)  # which is text
    assert not trap.exists()


def test_a_pickle_in_the_schema_of_a_parquet_file_is_never_unpickled(
    scored: Callable[..., Scored], tmp_path: Path
) -> None:
    """Arrow once unpickled an extension type's parameters (CVE-2023-47248)."""
    trap = tmp_path / "sprung"
    metadata = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": pickle_trap(trap)}
    text = pa.field("text", pa.string(), metadata=metadata)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table([pa.array(["a"])], pa.schema([text])), sink)
    done = scored(tiny_bundles.classifier, "a.parquet", sink.getvalue().to_pybytes())
    assert (done.rows, trap.exists()) == (1, False)


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


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_stays_a_name(tmp_path: Path, name: str) -> None:
    inbox = Inbox(tmp_path)
    tiny_bundles.digits(tmp_path / "bundle")
    content = parquet({"row_id": pa.array([7]), "pixels": lists([784], pa.array(ONE.reshape(-1)))})
    inbox.put_bytes(name, content)
    inbox.put_bytes(f"day=1/{name}", b"garbage")
    report = inbox.score()
    hidden = name.startswith(".")
    assert (report.counts()["scored"], report.counts()["rejected"]) == (not hidden, not hidden)
    assert inbox.ids("predictions") == ([] if hidden else [7])
    assert all(one.file.isprintable() for one in report.files)
    assert {path.name for path in tmp_path.iterdir()} <= {"bundle", "inbox", "predictions", "quarantine", "staging"}
    assert sorted(inbox.files("inbox")) == sorted([name, f"day=1/{name}"])


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith((".", "x"))], ids=ascii)
def test_predict_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    content = parquet({"pixels": lists([784], pa.array(ONE.reshape(-1)))})
    (folder / name).write_bytes(content)
    predict(tiny_bundles.digits(tmp_path / "bundle"), folder, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"in", "bundle", "out"}
    assert len(list((tmp_path / "out").iterdir())) == 1
    assert len(list(folder.iterdir())) == 1


def test_a_name_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    source = tmp_path / ("x" * 247 + ".parquet")
    source.write_bytes(parquet({"pixels": lists([784], pa.array(ONE.reshape(-1)))}))
    with pytest.raises(UnrollError, match="cannot be written: File name too long"):
        predict(tiny_bundles.digits(tmp_path / "bundle"), source, tmp_path / "out")


# What is no file


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_dangling(path: Path) -> None:
    path.symlink_to("nothing")


@pytest.mark.parametrize("make", [Path.mkdir, make_fifo, make_loop, make_device, make_dangling])
def test_what_is_no_file_is_not_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    inbox = Inbox(tmp_path)
    tiny_bundles.digits(tmp_path / "bundle")
    inbox.put("b.parquet", 2)
    make(tmp_path / "inbox/a.parquet")
    report = inbox.score()
    assert (report.counts()["scored"], report.counts()["rejected"]) == (1, 0)
    assert inbox.ids("predictions") == [0, 1]
    outcome = scored_elsewhere(tmp_path / "bundle", tmp_path / "inbox/a.parquet", tmp_path / "out", seconds=60)
    assert outcome.error is not None
    assert outcome.rows == 0


# JSON lines


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"text": "a", "text": "b"}', "line 2: not valid JSON: the key 'text' stands twice"),
        (b'{"text": "a", "x": {"y": 1, "y": 2}}', "line 2: not valid JSON: the key 'y' stands twice"),
        (b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "line 2: not valid JSON: maximum recursion depth"),
        (b'{"text": "a", "id": ' + b"9" * 5000 + b"}", "line 2: not valid JSON: Exceeds the limit"),
        (b'{"text": "a", "x": NaN}', "line 2: not valid JSON: NaN is not JSON"),
        (b'{"text": "a", "x": -Infinity}', "line 2: not valid JSON: -Infinity is not JSON"),
        (b'["text"]', "line 2: found .*, expected a JSON object"),
    ],
    ids=["twice", "twice-inside", "deep", "huge-number", "nan", "infinity", "list"],
)
def test_json_lines_that_say_no_one_thing(scored: Callable[..., Scored], line: bytes, says: str) -> None:
    with pytest.raises(FormatError, match=says):
        scored(tiny_bundles.classifier, "a.jsonl", b'{"text": "a"}\n' + line + b"\n")


def test_numbers_in_place_of_texts_are_set_aside(scored: Callable[..., Scored]) -> None:
    done = scored(tiny_bundles.classifier, "a.jsonl", b'{"text": 1e999}\n{"text": "a"}\n{"text": {"$ne": 1}}\n')
    assert done.rows == 1
    assert reasons(done) == {
        0: "text is 'inf' (float), expected text",
        2: "text is \"{'$ne': 1}\" (dict), expected text",
    }


# CSV


FORMULAS = ["=cmd|'/C calc'!A0", "+1+1", "-1", "@SUM(A1)", '=HYPERLINK("http://x.example","y")', "\t=1"]


def test_formulas_are_text_and_stay_as_they_are(scored: Callable[..., Scored]) -> None:
    """Nothing here evaluates a cell; ids go to Parquet unchanged, and so do texts that cannot be scored."""
    quoted = [cell.replace('"', '""') for cell in FORMULAS]
    lines = ["id,text", *(f'"{cell}","{cell}"' for cell in quoted), '"=1+1",""']
    done = scored(tiny_bundles.classifier, "a.csv", "\n".join(lines).encode() + b"\n")
    assert [row["row_id"] for row in rows_of(done.output)] == FORMULAS
    assert reasons(done) == {"=1+1": "the text is empty"}


def test_a_cell_of_ten_megabytes_is_set_aside(scored: Callable[..., Scored]) -> None:
    done = scored(tiny_bundles.classifier, "a.csv", b"text\n" + b"a " * 5_000_000 + b"\na b\n")
    assert done.rows == 1
    assert reasons(done) == {0: "text has 10,000,000 characters; a text may have 262,144"}


def test_an_id_of_a_megabyte_is_set_aside(scored: Callable[..., Scored]) -> None:
    done = scored(tiny_bundles.classifier, "a.csv", b"id,text\nx,a\n" + b"i" * 1_000_000 + b",a\n")
    assert done.rows == 1
    assert reasons(done) == {None: "row 1 of the file has a row_id of 1,000,000 characters; it may have 1,000"}


@pytest.mark.parametrize("cell", ["=1+1", "1e999", "inf", "9" * 30, "1_0"])
def test_pixels_that_are_no_whole_numbers(scored: Callable[..., Scored], cell: str) -> None:
    with pytest.raises(FormatError, match="invalid value"):
        scored(tiny_bundles.digits, "a.csv", ("0," * 783 + "0\n" + "0," * 783 + f"{cell}\n").encode())


# Numbers that are none


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_prices_that_are_not_finite(scored: Callable[..., Scored], value: float) -> None:
    table = {
        "ticker": pa.array(["BAD"] * 3 + ["GOOD"] * 3),
        "date": pa.array(["2020-01-01", "2020-01-02", "2020-01-03"] * 2),
        "close": pa.array([1.0, value, 2.0, 1.0, 2.0, 3.0]),
    }
    done = scored(tiny_bundles.last_price, "a.parquet", parquet(table))
    assert [row["ticker"] for row in rows_of(done.output)] == ["GOOD"]
    (reason,) = reasons(done).values()
    assert "in close on 2020-01-02" in reason


@pytest.mark.parametrize("cell", ["nan", "inf", "-inf", "1e999", "=1+1"])
def test_prices_of_a_csv_that_are_no_numbers(scored: Callable[..., Scored], cell: str) -> None:
    lines = ["date,open,high,low,close,volume", f"2020-01-01,1,1,1,{cell},1", "2020-01-02,1,1,1,1,1"]
    with pytest.raises(FormatError, match=r"a\.csv, line 2, column close"):
        scored(tiny_bundles.last_price, "a.csv", "\n".join(lines).encode())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_recordings_that_are_not_finite(scored: Callable[..., Scored], value: float) -> None:
    frames = lists([2, 4], pa.array(np.array([value, 0, 1, 1, 1, 1], np.float32)))
    done = scored(tiny_bundles.recordings, "a.parquet", parquet({"frames": frames}))
    assert done.rows == 1
    assert list(reasons(done)) == [0]


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
def test_dates_that_nobody_can_read_are_set_aside(scored: Callable[..., Scored], last: pa.Array) -> None:
    good = pa.array([10, 11, 12], pa.int32()).cast(pa.date32()).cast(last.type)
    content = days(pa.concat_arrays([last, good]), ticker=pa.array(["BAD"] * 3 + ["GOOD"] * 3))
    done = scored(tiny_bundles.last_price, "a.parquet", content)
    (row,) = rows_of(done.output)
    assert (row["ticker"], str(row["date"])) == ("GOOD", "1970-01-14")
    (reason,) = reasons(done).values()
    assert "outside 0001-01-01 to 9999-12-24" in reason or "without a date" in reason


@pytest.mark.parametrize("day", ["0000-01-01", "292277-01-09", "2020-13-01", "-001-01-01", "=TODAY()"])
def test_dates_of_a_csv_that_are_none(scored: Callable[..., Scored], day: str) -> None:
    lines = ["date,open,high,low,close,volume", "2020-01-01,1,1,1,1,1", f"{day},1,1,1,1,1"]
    with pytest.raises(FormatError, match=r"a\.csv, line 3, column date"):
        scored(tiny_bundles.last_price, "a.csv", "\n".join(lines).encode())


# Parquet of strange columns


def twice(name: str, **others: pa.Array) -> bytes:
    """A file with two columns of one name."""
    column = others.pop(name)
    table = pa.table([column, column, *others.values()], [name, name, *others])
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())


PIXELS = lists([784], pa.array(ONE.reshape(-1)))
STRANGE: dict[str, tuple[Bundle, Callable[[], bytes], str]] = {
    "pixels-twice": (tiny_bundles.digits, lambda: twice("pixels", pixels=PIXELS), "2 columns 'pixels'"),
    "ids-twice": (
        tiny_bundles.digits,
        lambda: twice("row_id", row_id=pa.array([1]), pixels=PIXELS),
        "2 columns 'row_id'",
    ),
    "texts-twice": (
        tiny_bundles.classifier,
        lambda: twice("text", text=pa.array(["a"])),
        "more than one column 'text'",
    ),
    "text-ids-twice": (
        tiny_bundles.classifier,
        lambda: twice("id", id=pa.array([1]), text=pa.array(["a"])),
        "2 columns 'id'",
    ),
    "dates-twice": (
        tiny_bundles.last_price,
        lambda: twice("date", date=pa.array(["2020-01-01"]), close=pa.array([1.0])),
        "'date'|date is missing or stands twice",
    ),
    "frames-twice": (
        tiny_bundles.recordings,
        lambda: twice("frames", frames=lists([2], pa.array([1.0, 2.0]))),
        "needs one column 'frames'",
    ),
    "struct-for-pixels": (
        tiny_bundles.digits,
        lambda: parquet({"pixels": pa.array([{"a": 1}])}),
        "pixels is struct<a: int64>, expected",
    ),
    "text-for-pixels": (
        tiny_bundles.digits,
        lambda: parquet({"pixels": pa.array(["0"])}),
        "pixels is string, expected",
    ),
    "decimal-pixels": (
        tiny_bundles.digits,
        lambda: parquet({"pixels": lists([784], pa.array(ONE.reshape(-1)).cast(pa.decimal128(5, 2)))}),
        "pixels are decimal",
    ),
    "struct-for-ids": (
        tiny_bundles.digits,
        lambda: parquet({"row_id": pa.array([{"a": 1}]), "pixels": PIXELS}),
        "row_id is struct",
    ),
    "struct-for-prices": (
        tiny_bundles.last_price,
        lambda: days("2020-01-01", "2020-01-02", close=pa.array([{"a": 1}, {"a": 2}])),
        "cannot be read after row 0",
    ),
    "map-for-frames": (
        tiny_bundles.recordings,
        lambda: parquet({"frames": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))}),
        "expected a list of time steps",
    ),
    "wide-bytes-for-pixels": (
        tiny_bundles.digits,
        lambda: parquet({"pixels": pa.array([b"0" * 100_000] * 100, pa.binary(100_000))}),
        r"pixels is fixed_size_binary\[100000\], expected",
    ),
    "no-columns": (tiny_bundles.digits, lambda: parquet({}), "has no column 'pixels'.*it has none"),
    "no-rows": (
        tiny_bundles.digits,
        lambda: parquet({"pixels": pa.array([], pa.list_(pa.uint8()))}),
        "has no rows",
    ),
    "no-texts": (tiny_bundles.classifier, lambda: parquet({"text": pa.array([], pa.string())}), "has no rows"),
    "no-prices": (tiny_bundles.last_price, lambda: days(pa.array([], pa.date32())), "has no rows"),
}


@pytest.mark.parametrize("case", STRANGE)
def test_strange_columns_are_refused(scored: Callable[..., Scored], case: str) -> None:
    bundle, content, says = STRANGE[case]
    with pytest.raises(DataError, match=says):
        scored(bundle, "a.parquet", content())


def test_values_of_other_types_are_read(scored: Callable[..., Scored]) -> None:
    """Decimals are numbers, dictionaries are what they stand for, int96 is a date."""
    stamps = pa.array(np.array(["2020-01-01", "2020-01-02", "2020-01-03"], "datetime64[ns]"))
    ticker = pa.DictionaryArray.from_arrays(pa.array([0, 0, 0], pa.int8()), pa.array(["X"]))
    close = pa.array([1, 2, 3], pa.int32()).cast(pa.decimal128(12, 2))
    content = parquet({"date": stamps, "ticker": ticker, "close": close}, use_deprecated_int96_timestamps=True)
    (row,) = rows_of(scored(tiny_bundles.last_price, "a.parquet", content).output)
    assert (row["row_id"], row["prediction"]) == ("X@2020-01-03", 3.0)


@pytest.mark.parametrize(
    "kind", [pa.struct([("a", pa.int64())]), pa.list_(pa.int64()), pa.decimal128(5, 2), pa.binary()]
)
def test_what_is_no_text_is_set_aside(tmp_path: Path, kind: pa.DataType) -> None:
    values = {"struct": {"a": 1}, "list": [1], "decimal128": 1, "binary": b"a"}
    name = str(kind).partition("<")[0].partition("(")[0]
    source = tmp_path / "a.parquet"
    source.write_bytes(parquet({"text": pa.array([values[name]], kind)}))
    with pytest.raises(DataError, match="none of 1 rows can be scored; the first is 0: text is "):
        predict(tiny_bundles.classifier(tmp_path / "bundle"), source, tmp_path / "out")


def test_bytes_that_were_changed_are_an_answer_or_an_error(scored: Callable[..., Scored]) -> None:
    content = bytearray(parquet({"text": pa.array(["a", "b a", "c"])}, compression="snappy"))
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.choice(np.arange(4, len(content) - 8), 150, replace=False):
        changed = bytearray(content)
        changed[place] ^= int(rng.integers(1, 256))
        try:
            scored(tiny_bundles.classifier, "a.parquet", bytes(changed))
        except DataError:
            refused += 1
    assert refused > 20


def test_a_text_of_control_characters_is_text(scored: Callable[..., Scored]) -> None:
    line = json.dumps({"text": "a \x00\x1b[31m\u202e b", "id": "x\x00\n"})
    (row,) = rows_of(scored(tiny_bundles.classifier, "a.jsonl", line.encode()).output)
    assert row["row_id"] == "x\x00\n"
