import gzip
import hashlib
import json
import pickle
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from unroll.errors import DataError, FormatError, SourceError
from unroll.stages import ingest

SPLITS = ("train", "valid", "test")
DAYS = [f"2014-03-{day:02}" for day in range(1, 32)]


@pytest.fixture(autouse=True)
def _here(here: Path) -> None:
    """Every stage works in the current folder."""


def _ingest(domain: str, *sources: str, split: bool = False, **options: Any) -> tuple[pa.Table, dict[str, Any]]:
    """Ingest the dataset `own`, each source with its stem as split; return its table and its record."""
    listed = [{"kind": "path", "path": one} | ({"split": Path(one).stem} if split else {}) for one in sources]
    dataset = {"domain": domain, "sources": listed, **options}
    Path("params.yaml").write_text(yaml.safe_dump({"datasets": {"own": dataset}}))
    ingest.run("own")
    return pq.read_table(f"data/raw/own/{domain}.parquet"), json.loads(Path("data/raw/own/ingest.json").read_text())


def _write_prices(name: str, days: list[str], ratio: float = 1.0) -> None:
    """Flat prices; the close of the first 20 days is `ratio` times what it should be."""
    rows = [f"{day},100,102,98,{101 * (ratio if number < 20 else 1)},1000\r\n" for number, day in enumerate(days)]
    Path(name).write_text("Date,Open,High,Low,Close,Volume\r\n" + "".join(rows), newline="")


def _content() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path("data/raw/own").iterdir()}


def test_prices_from_separate_files(capsys: pytest.CaptureFixture[str]) -> None:
    _write_prices("train.csv", ["1/3/2012", "1/13/2012"])
    _write_prices("test.csv", ["2017-01-04", "2017-01-03"])
    table, record = _ingest("prices", "train.csv", "test.csv", split=True, ticker="GOOGL")
    days = [date(2012, 1, 3), date(2012, 1, 13), date(2017, 1, 3), date(2017, 1, 4)]
    assert table.column("date").to_pylist() == days
    assert table.column("split").to_pylist() == ["train", "train", "test", "test"]
    assert (record["domain"], record["rows"]) == ("prices", 4)
    assert [source["path"] for source in record["sources"]] == ["train.csv", "test.csv"]
    assert [source["files"][0]["date_format"] for source in record["sources"]] == ["m/d/yyyy", "iso"]
    assert [source["files"][0]["order"] for source in record["sources"]] == ["oldest first", "newest first"]
    assert "rescaled_close" not in record
    assert "own: 4 rows of ticker, date" in capsys.readouterr().out


def test_equal_runs_write_equal_bytes_without_absolute_paths(here: Path) -> None:
    _write_prices("prices.csv", DAYS)
    _ingest("prices", str(here / "prices.csv"), ticker="X")
    first = _content()
    ingest.run("own")
    assert _content() == first
    assert str(here).encode() not in b"".join(first.values())


def test_close_is_rescaled_on_request_and_on_record(capsys: pytest.CaptureFixture[str]) -> None:
    _write_prices("prices.csv", DAYS, ratio=2.0)
    table, _ = _ingest("prices", "prices.csv", ticker="GOOGL")
    assert table.column("close").to_pylist()[:2] == [202.0, 202.0]
    table, record = _ingest("prices", "prices.csv", ticker="GOOGL", rescale_close=True)
    (stretch,) = record["rescaled_close"]
    assert (stretch["first"], stretch["last"], stretch["rows"]) == ("2014-03-01", "2014-03-20", 20)
    assert stretch["ratio"] == pytest.approx(2.02)
    assert table.column("close").to_pylist() == pytest.approx([100.0] * 20 + [101.0] * 11)
    assert "close of GOOGL divided by 2.02 from 2014-03-01 to 2014-03-20 (20 rows)" in capsys.readouterr().out


def test_digits_from_a_pickle() -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 784), dtype=np.uint8)
    parts = (slice(15), slice(15, 20), slice(20, 30))
    pairs = tuple((images[part].astype(np.float32) / 256, np.arange(30)[part] % 10) for part in parts)
    content = gzip.compress(pickle.dumps(pairs, protocol=3))
    Path("digits.pkl.gz").write_bytes(content)
    source = {"kind": "path", "path": "digits.pkl.gz", "sha256": hashlib.sha256(content).hexdigest()}
    table, record = _ingest("digits", sources=[source])
    assert table.column("split").to_pylist() == ["train"] * 20 + ["test"] * 10
    assert table.column("pixels").to_pylist() == images.tolist()
    assert record["sources"][0]["sha256"] == source["sha256"]


def test_recordings_from_an_npz() -> None:
    frames = np.random.default_rng(0).normal(size=(6, 13)).astype(np.float32)
    np.savez("own.npz", X=frames, y=np.array([7, 0]), lengths=np.array([2, 4]))
    table, _ = _ingest("recordings", "own.npz")
    assert table.column("label").to_pylist() == [7, 0]
    assert table.column("frames").to_pylist() == [frames[:2].tolist(), frames[2:].tolist()]


OWN: dict[str, tuple[dict[str, str], int]] = {
    # Own files of each domain, one for each split where there are three, and the rows they have together.
    "texts": ({"own.csv": "text,label\nfine,1\npoor,-1\n"}, 2),
    "pairs": ({"own.en": "one\ntwo\n", "own.fr": "un\ndeux\n"}, 2),
    "articles": ({f"{split}.txt": f" = {split} = \n" for split in SPLITS}, 3),
    "tunes": ({"own.abc": "X:1\nK:D\nD2 FA |]\n"}, 1),
    "tagged": ({f"{split}.conll": "EU I-ORG\nis O\n" for split in SPLITS}, 3),
}


@pytest.mark.parametrize("domain", OWN)
def test_own_files_of_each_domain(domain: str, capsys: pytest.CaptureFixture[str]) -> None:
    contents, rows = OWN[domain]
    for name, content in contents.items():
        Path(name).write_text(content)
    table, record = _ingest(domain, *contents, split=len(contents) == 3)
    assert table.column_names[:2] == ["row_id", "split"]
    assert table.column("split").to_pylist() == (list(SPLITS) if len(contents) == 3 else [None] * rows)
    assert (record["domain"], record["rows"]) == (domain, rows)
    assert [one["path"] for one in record["sources"]] == list(contents)
    assert all(len(one["sha256"]) == 64 for one in record["sources"])
    out = capsys.readouterr().out
    assert f"own: {rows} rows of row_id, split" in out
    assert ("own: tags were converted from IOB1 to IOB2" in out) == (domain == "tagged")


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", FormatError, r"prices\.csv is empty"),
        (b"Date,Open\n2017-01-03,1\n", FormatError, "missing column high, low, close, volume"),
        (b"Date,Open,High,Low,Close,Volume\n2017-01-03,1,1,one,1,1\n", FormatError, "line 2, column low: found 'one'"),
        (None, SourceError, r"prices\.csv does not exist"),
    ],
)
def test_bad_input_leaves_what_was_there(content: bytes | None, error: type[DataError], message: str) -> None:
    _write_prices("prices.csv", DAYS)
    _ingest("prices", "prices.csv", ticker="GOOGL")
    before = _content()
    Path("prices.csv").unlink()
    if content is not None:
        Path("prices.csv").write_bytes(content)
    with pytest.raises(error, match=message):
        ingest.run("own")
    assert _content() == before
    assert [path.name for path in Path("data/raw").iterdir()] == ["own"]
