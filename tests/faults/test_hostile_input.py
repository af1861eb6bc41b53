"""Hostile input: it is scored as plain data, quarantined row by row, or rejected whole with what is wrong."""

import os
from collections.abc import Callable
from pathlib import Path

import in_process
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles
from hostile import lists, parquet, pickle_trap
from inboxes import Inbox

from unroll.errors import DataError, FormatError
from unroll.inference.file_scorer import FileScorer
from unroll.inference.predict import predict

Bundle = Callable[[Path], Path]
Score = Callable[[Bundle, str, bytes], in_process.Result]
ONE = tiny_bundles.images(1)
PIXELS = lists([784], pa.array(ONE.reshape(-1)))


@pytest.fixture
def score(tmp_path):
    def scored(bundle, name, content):
        source = tmp_path / "in" / name
        source.parent.mkdir(exist_ok=True)
        source.write_bytes(content)
        return in_process.score(bundle(tmp_path / "bundle"), source)

    return scored


def days(*dates, **columns):
    """A Parquet file of prices with these dates."""
    column = dates[0] if len(dates) == 1 and isinstance(dates[0], pa.Array) else pa.array(dates)
    return parquet({"date": column, "close": pa.array(np.arange(len(column)) + 1.0), **columns})


# Pickle


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl", "a.txt", "a.npy", "a"])
@pytest.mark.parametrize("protocol", [0, 4])
def test_a_pickle_in_place_of_data_is_never_unpickled(score, tmp_path, name, protocol):
    trap = tmp_path / "sprung"
    bundle = tiny_bundles.classifier if name.endswith((".txt", ".jsonl")) else tiny_bundles.digits
    try:
        score(bundle, name, pickle_trap(trap, protocol))
    except DataError:
        pass
    else:
        assert (name, protocol) == ("a.txt", 0)  # which is text
    assert not trap.exists()


def test_a_pickle_in_the_schema_of_a_parquet_file_is_never_unpickled(score, tmp_path):
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
    "/".join(["folder-of-forty-characters-and-then-some"] * 30) + "/a.parquet",
]


def test_names_stay_names(tmp_path):
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
    assert all(name.isprintable() for place in ("predictions", "quarantine") for name in inbox.files(place))
    assert {path.name for path in tmp_path.iterdir()} <= {"bundle", "inbox", "predictions", "quarantine", "staging"}
    assert sorted(inbox.files("inbox")) == sorted([*NAMES, *(f"day=1/{name}" for name in NAMES)])


# What is not a file


def make_device(path):
    path.symlink_to("/dev/zero")


def make_loop(path):
    path.symlink_to(path.name)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, make_loop, make_device])
def test_what_is_not_a_file_is_not_read(tmp_path, make):
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
def test_ambiguous_json_lines(score, line, message):
    with pytest.raises(FormatError, match=message):
        score(tiny_bundles.classifier, "a.jsonl", b'{"text": "a"}\n' + line + b"\n")


# CSV


FORMULAS = ["=cmd|'/C calc'!A0", "+1+1", "-1", "@SUM(A1)", '=HYPERLINK("http://x.example","y")', "\t=1"]


def test_formulas_are_text_and_stay_as_they_are(score):
    """Nothing here evaluates a cell; ids go to Parquet unchanged, and so do texts that cannot be scored."""
    quoted = [cell.replace('"', '""') for cell in FORMULAS]
    lines = ["id,text", *(f'"{cell}","{cell}"' for cell in quoted), '"=1+1",""']
    result = score(tiny_bundles.classifier, "a.csv", "\n".join(lines).encode() + b"\n")
    assert result.output["row_id"].to_pylist() == FORMULAS
    assert result.reasons == {"=1+1": "the text has no tokens"}


def test_huge_cells_are_quarantined(score):
    result = score(tiny_bundles.classifier, "a.csv", b"text\n" + b"a " * 5_000_000 + b"\na b\n")
    assert result.reasons == {0: "text has 10,000,000 characters; a text may have 262,144"}
    result = score(tiny_bundles.classifier, "a.csv", b"id,text\nx,a\n" + b"i" * 1_000_000 + b",a\n")
    assert result.reasons == {None: "row 1 of the file has a row_id of 1,000,000 characters; it may have 1,000"}
    assert result.found["rows_scored"] == 1


# Numbers that are not finite


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
def test_dates_beyond_the_calendar_are_quarantined(score, last):
    good = pa.array([11, 12, 13], pa.int32()).cast(pa.date32()).cast(last.type)
    content = days(pa.concat_arrays([last, good]), ticker=pa.array(["BAD"] * 3 + ["GOOD"] * 3))
    result = score(tiny_bundles.last_price, "a.parquet", content)
    (row,) = result.output.to_pylist()
    assert (row["ticker"], str(row["date"])) == ("GOOD", "1970-01-15")
    ticker, day = result.reasons.values()
    assert ticker == "has 2 rows, the model needs 3"
    assert day.startswith("column date: ")


# Parquet with unexpected columns


def twice(name, **others):
    column = others.pop(name)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table([column, column, *others.values()], [name, name, *others]), sink)
    return bytes(sink.getvalue().to_pybytes())


digits, prices = tiny_bundles.digits, tiny_bundles.last_price
UNEXPECTED: dict[str, tuple[Bundle, Callable[[], bytes], str]] = {
    "pixels-twice": (digits, lambda: twice("pixels", pixels=PIXELS), "2 columns 'pixels'"),
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
    "struct-for-pixels": (digits, lambda: parquet({"pixels": pa.array([{"a": 1}])}), "pixels are struct<a: int64>"),
    "no-columns": (digits, lambda: parquet({}), "has no column 'pixels'.*it has none"),
    "no-rows": (digits, lambda: parquet({"pixels": pa.array([], pa.list_(pa.uint8()))}), "has no rows"),
}


@pytest.mark.parametrize("case", UNEXPECTED)
def test_unexpected_columns_are_rejected(score, case):
    bundle, content, message = UNEXPECTED[case]
    with pytest.raises(DataError, match=message):
        score(bundle, "a.parquet", content())


def test_values_of_other_types_are_read(score):
    """Decimals are numbers, dictionaries are their values, int96 is a date."""
    stamps = pa.array(np.array(["2020-01-01", "2020-01-02", "2020-01-03"], "datetime64[ns]"))
    ticker = pa.DictionaryArray.from_arrays(pa.array([0, 0, 0], pa.int8()), pa.array(["X"]))
    close = pa.array([1, 2, 3], pa.int32()).cast(pa.decimal128(12, 2))
    content = parquet({"date": stamps, "ticker": ticker, "close": close}, use_deprecated_int96_timestamps=True)
    (row,) = score(prices, "a.parquet", content).output.to_pylist()
    assert (row["row_id"], row["prediction"]) == ("X@2020-01-03", 3.0)


def test_bytes_that_were_changed_give_an_answer_or_an_error(tmp_path):
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
