import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from unroll.errors import DataError, ExpectationError, FormatError
from unroll.stages import ingest, validate


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _params(root: Path, **options: Any) -> None:
    dataset = {"domain": "prices", "ticker": "GOOGL", "sources": [{"kind": "path", "path": "prices.csv"}], **options}
    (root / "params.yaml").write_text(yaml.safe_dump({"datasets": {"stock": dataset}}))


def _write_public_copy(path: Path) -> None:
    """As the well-known copy has it: the close on the scale before the split up to 2014-03-26, 1.998 times the rest."""
    days = (date(2014, 1, 2) + timedelta(number) for number in range(150))
    rows = []
    for number, day in enumerate(day for day in days if day.weekday() < 5):
        middle = 560 + 10 * (number % 7)
        close = (middle + 2) * (1.998 if day <= date(2014, 3, 26) else 1)
        cells = [f"{day.month}/{day.day}/{day.year}", middle, middle + 5, middle - 5, f'"{close:,.2f}"', '"1,000"']
        rows.append(",".join(str(cell) for cell in cells) + "\n")
    path.write_text("Date,Open,High,Low,Close,Volume\n" + "".join(rows))


def test_close_before_the_split_is_caught_explained_and_mended(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write_public_copy(root / "prices.csv")
    _params(root)
    ingest.run("stock")
    with pytest.raises(ExpectationError) as caught:
        validate.run("stock")
    line = next(line for line in str(caught.value).splitlines() if "scale" in line)
    assert "60 rows, first: GOOGL 2014-01-02: open 560, high 565, low 555, close 1122.88" in line
    assert "times the scale of open, high and low from 2014-01-02 to 2014-03-26 (60 rows)" in line
    assert "`rescale_close: true` under datasets.stock" in line

    verdict = json.loads(Path("data/validation/stock/verdict.json").read_text())
    assert verdict["passed"] is False
    assert verdict["rows"] == 107
    failed = {one["what"]: one["failed_rows"] for one in verdict["expectations"] if not one["passed"]}
    assert failed == {
        "close is on the scale of open, high and low": 60,
        "close ≤ high": 60,
        "no daily move of close beyond 25 %": 1,
    }
    assert Path("data/validation/stock/docs/index.html").is_file()

    _params(root, rescale_close=True)
    ingest.run("stock")
    validate.run("stock")
    assert json.loads(Path("data/validation/stock/verdict.json").read_text())["passed"] is True
    assert "stock: 107 rows keep all 23 expectations; see data/validation/stock/docs" in capsys.readouterr().out


def test_two_rows_of_one_date_stop_the_dataset(root: Path) -> None:
    rows = ["2014-01-02,1,2,1,1.5,10", "2014-01-03,1,2,1,1.5,10", "2014-01-02,1,2,1,1.6,10"]
    (root / "prices.csv").write_text("Date,Open,High,Low,Close,Volume\n" + "\n".join(rows))
    _params(root)
    ingest.run("stock")
    with pytest.raises(ExpectationError) as caught:
        validate.run("stock")
    assert str(caught.value).splitlines() == [
        "dataset stock fails 1 of 23 expectations:",
        "  - one row a ticker and date: 2 rows, first: GOOGL 2014-01-02: close 1.5; GOOGL 2014-01-02: close 1.6 — "
        "remove the repeated rows from the source",
    ]


def test_table_that_is_not_there_or_no_parquet(root: Path) -> None:
    _params(root)
    with pytest.raises(DataError, match=r"prices\.parquet is not there; run `unroll ingest stock`"):
        validate.run("stock")
    table = root / "data/raw/stock/prices.parquet"
    table.parent.mkdir(parents=True)
    table.write_bytes(b"nothing of the kind")
    with pytest.raises(FormatError, match=r"prices\.parquet is no readable Parquet file"):
        validate.run("stock")


def test_rows_of_texts_are_held_to_their_bounds(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"film {number},good\nno {number},bad\n" for number in range(10))
    (root / "own.csv").write_text(f"text,label\n{rows}film 0,bad\n")
    dataset = {"domain": "texts", "sources": [{"kind": "path", "path": "own.csv"}], "labels": ["good", "bad"]}
    (root / "params.yaml").write_text(yaml.safe_dump({"datasets": {"own": dataset}}))
    ingest.run("own")
    validate.run("own")
    assert "own: 21 rows keep all 11 expectations; see data/validation/own/docs" in capsys.readouterr().out
    assert Path("data/validation/own/docs/index.html").is_file()

    dataset["expectations"] = {"max_duplicates": 0.01}
    (root / "params.yaml").write_text(yaml.safe_dump({"datasets": {"own": dataset}}))
    with pytest.raises(ExpectationError) as caught:
        validate.run("own")
    assert str(caught.value).splitlines() == [
        "dataset own fails 1 of 11 expectations:",
        "  - at most 1 % of the rows repeat an earlier one: 1 row, first: row 20 (film 0) is row 0 — "
        "datasets.own.expectations.max_duplicates is the bound, 1 = 100 %",
    ]
    verdict = json.loads(Path("data/validation/own/verdict.json").read_text())
    assert (verdict["passed"], verdict["rows"]) == (False, 21)


@pytest.mark.parametrize("kind", ["texts", "pairs", "recordings"])
def test_table_of_every_kind_has_its_own_file(root: Path, kind: str) -> None:
    dataset = {"kind": kind, "sources": [{"kind": "path", "path": "own"}]}
    (root / "params.yaml").write_text(yaml.safe_dump({"datasets": {"own": dataset}}))
    with pytest.raises(DataError, match=rf"{kind}\.parquet is not there; run `unroll ingest own`"):
        validate.run("own")
