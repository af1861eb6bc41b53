import gzip
import hashlib
import json
import pickle
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from unroll.errors import FormatError, SourceError
from unroll.stages import ingest


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _params(root: Path, **dataset: Any) -> None:
    (root / "params.yaml").write_text(yaml.safe_dump({"datasets": {"own": dataset}}))


def _write_prices(path: Path, days: list[str], ratio: float = 1.0) -> None:
    """Flat prices; the close of the first 20 days is `ratio` times what it should be."""
    rows = [f"{day},100,102,98,{101 * (ratio if number < 20 else 1)},1000\r\n" for number, day in enumerate(days)]
    path.write_text("Date,Open,High,Low,Close,Volume\r\n" + "".join(rows), newline="")


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


DAYS = [f"2014-03-{day:02}" for day in range(1, 32)]


def test_prices_from_separate_files(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write_prices(root / "train.csv", ["1/3/2012", "1/13/2012"])
    _write_prices(root / "test.csv", ["2017-01-04", "2017-01-03"])
    sources = [
        {"kind": "path", "path": "train.csv", "split": "train"},
        {"kind": "path", "path": "test.csv", "split": "test"},
    ]
    _params(root, kind="prices", ticker="GOOGL", sources=sources)
    ingest.run("own")
    table = pq.read_table("data/raw/own/prices.parquet")
    assert table.column("date").to_pylist() == [
        date(2012, 1, 3),
        date(2012, 1, 13),
        date(2017, 1, 3),
        date(2017, 1, 4),
    ]
    assert table.column("split").to_pylist() == ["train", "train", "test", "test"]
    record = json.loads(Path("data/raw/own/ingest.json").read_text())
    assert record["rows"] == 4
    assert [source["path"] for source in record["sources"]] == ["train.csv", "test.csv"]
    assert [source["files"][0]["date_format"] for source in record["sources"]] == ["m/d/yyyy", "iso"]
    assert [source["files"][0]["order"] for source in record["sources"]] == ["oldest first", "newest first"]
    assert "rescaled_close" not in record
    assert "own: 4 rows of ticker, date" in capsys.readouterr().out


def test_equal_runs_write_equal_bytes(root: Path) -> None:
    _write_prices(root / "prices.csv", DAYS)
    _params(root, kind="prices", ticker="GOOGL", sources=[{"kind": "path", "path": str(root / "prices.csv")}])
    ingest.run("own")
    first = _content(root / "data/raw/own")
    ingest.run("own")
    assert _content(root / "data/raw/own") == first
    assert str(root).encode() not in b"".join(first.values())


def test_rescaled_close_is_on_record(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write_prices(root / "prices.csv", DAYS, ratio=2.0)
    source = {"kind": "path", "path": "prices.csv"}
    _params(root, kind="prices", ticker="GOOGL", rescale_close=True, sources=[source])
    ingest.run("own")
    (mended,) = json.loads(Path("data/raw/own/ingest.json").read_text())["rescaled_close"]
    assert (mended["first"], mended["last"], mended["rows"]) == ("2014-03-01", "2014-03-20", 20)
    assert mended["ratio"] == pytest.approx(2.02)
    close = pq.read_table("data/raw/own/prices.parquet").column("close").to_pylist()
    assert close == pytest.approx([100.0] * 20 + [101.0] * 11)
    assert "close of GOOGL divided by 2.02 from 2014-03-01 to 2014-03-20 (20 rows)" in capsys.readouterr().out


def test_nothing_is_rescaled_unasked(root: Path) -> None:
    _write_prices(root / "prices.csv", DAYS, ratio=2.0)
    _params(root, kind="prices", ticker="GOOGL", sources=[{"kind": "path", "path": "prices.csv"}])
    ingest.run("own")
    assert pq.read_table("data/raw/own/prices.parquet").column("close").to_pylist()[:2] == [202.0, 202.0]


def test_digits_from_the_pickle(root: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 784), dtype=np.uint8)
    labels = np.arange(30) % 10
    pairs = tuple(
        (images[part].astype(np.float32) / 256, labels[part]) for part in (slice(15), slice(15, 20), slice(20, 30))
    )
    content = gzip.compress(pickle.dumps(pairs, protocol=3))
    (root / "digits.pkl.gz").write_bytes(content)
    source = {"kind": "path", "path": "digits.pkl.gz", "sha256": hashlib.sha256(content).hexdigest()}
    _params(root, kind="digits", sources=[source])
    ingest.run("own")
    table = pq.read_table("data/raw/own/digits.parquet")
    assert table.column("split").to_pylist() == ["train"] * 20 + ["test"] * 10
    assert table.column("pixels").to_pylist() == images.tolist()
    record = json.loads(Path("data/raw/own/ingest.json").read_text())
    assert record["sources"][0]["sha256"] == source["sha256"]
    assert record["rows"] == 30


SPLITS = ("train", "valid", "test")
TUNE = "X:1\nT:A reel\nM:C|\nL:1/8\nK:D\n"
OWN: dict[str, tuple[dict[str, str], list[str]]] = {
    # Own files of each kind, and columns of its table; a source each, with a split where there are three.
    "texts": ({"own.csv": "text,label\nfine,1\npoor,-1\n"}, ["row_id", "split", "text", "label", "rating"]),
    "pairs": ({"own.en": "one\ntwo\n", "own.fr": "un\ndeux\n"}, ["row_id", "split", "source", "target"]),
    "articles": ({f"{split}.txt": f" = {split} = \n" for split in SPLITS}, ["row_id", "split", "text"]),
    "melodies": (
        {"own.abc": f"{TUNE}D2 FA |]\n{TUNE}D =|"},
        ["row_id", "split", "file", "title", "key", "mode", "meter", "notes"],
    ),
    "tagged": ({f"{split}.conll": "EU I-ORG\nis O\n" for split in SPLITS}, ["row_id", "split", "tokens", "tags"]),
}


@pytest.mark.parametrize("kind", OWN)
def test_own_files_of_each_kind(root: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    contents, columns = OWN[kind]
    sources: list[dict[str, Any]] = []
    for name, content in contents.items():
        (root / name).write_text(content)
        split = {"split": name.partition(".")[0]} if len(contents) == 3 else {}
        sources.append({"kind": "path", "path": name, **split})
    _params(root, kind=kind, sources=sources)
    ingest.run("own")
    table = pq.read_table(f"data/raw/own/{kind}.parquet")
    assert table.column_names == columns
    assert table.column("split").to_pylist() == (list(SPLITS) if len(contents) == 3 else [None] * table.num_rows)
    record = json.loads(Path("data/raw/own/ingest.json").read_text())
    assert (record["kind"], record["rows"]) == (kind, table.num_rows)
    assert [one["path"] for one in record["sources"]] == list(contents)
    assert all(len(one["sha256"]) == 64 for one in record["sources"])
    before = _content(root / "data/raw/own")
    ingest.run("own")
    assert _content(root / "data/raw/own") == before
    assert f"own: {table.num_rows} rows of row_id, split" in capsys.readouterr().out


def test_recordings_from_an_npz(root: Path) -> None:
    frames = np.random.default_rng(0).normal(size=(6, 13)).astype(np.float32)
    np.savez(root / "own.npz", X=frames, y=np.array([7, 0]), lengths=np.array([2, 4]))
    _params(root, kind="recordings", sources=[{"kind": "path", "path": "own.npz"}])
    ingest.run("own")
    table = pq.read_table("data/raw/own/recordings.parquet")
    assert table.column("label").to_pylist() == [7, 0]
    assert table.column("frames").to_pylist() == [frames[:2].tolist(), frames[2:].tolist()]


def test_what_was_left_out_or_changed_is_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "own.abc").write_text(OWN["melodies"][0]["own.abc"])
    _params(root, kind="melodies", sources=[{"kind": "path", "path": "own.abc"}])
    ingest.run("own")
    told = "own: tunes left out because they could not be parsed: 1 (ingest.json names them), first: own.abc, X:1: '='"
    assert told in capsys.readouterr().out
    for split in SPLITS:
        (root / split).write_text("EU I-ORG\n")
    _params(root, kind="tagged", sources=[{"kind": "path", "path": split, "split": split} for split in SPLITS])
    ingest.run("own")
    assert "own: tags were in IOB1 and are in IOB2 now" in capsys.readouterr().out
    assert pq.read_table("data/raw/own/tagged.parquet").column("tags").to_pylist() == [["B-ORG"]] * 3


def test_invalid_utf8_stops_a_dataset(root: Path) -> None:
    (root / "own.tsv").write_bytes(b"Go.\tVa !\nHelp!\t\xc0 l'aide !\n")
    _params(root, kind="pairs", sources=[{"kind": "path", "path": "own.tsv"}])
    with pytest.raises(FormatError, match=r"own\.tsv is no UTF-8 text: byte 0xc0 at byte offset 15, in line 2"):
        ingest.run("own")
    assert not list((root / "data/raw").iterdir())


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", FormatError, r"prices\.csv is empty"),
        (b"Date,Open\n2017-01-03,1\n", FormatError, "missing columns high, low, close, volume"),
        (b"Date,Open,High,Low,Close,Volume\n2017-01-03,1,1,one,1,1\n", FormatError, "line 2, column low: found 'one'"),
        (None, SourceError, r"prices\.csv is not there"),
    ],
)
def test_bad_input_leaves_what_was_there(
    root: Path, content: bytes | None, error: type[Exception], message: str
) -> None:
    _params(root, kind="prices", ticker="GOOGL", sources=[{"kind": "path", "path": "prices.csv"}])
    _write_prices(root / "prices.csv", DAYS)
    ingest.run("own")
    before = _content(root / "data/raw/own")
    (root / "prices.csv").unlink()
    if content is not None:
        (root / "prices.csv").write_bytes(content)
    with pytest.raises(error, match=message):
        ingest.run("own")
    assert _content(root / "data/raw/own") == before
    assert [path.name for path in (root / "data/raw").iterdir()] == ["own"]
