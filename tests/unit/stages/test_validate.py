import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from unroll.errors import DataError, ExpectationError, FormatError
from unroll.stages import ingest, validate


@pytest.fixture(autouse=True)
def _here(here: Path) -> None:
    """Every stage works in the current folder."""


def _params(**dataset: Any) -> None:
    content = {"domain": "prices", "ticker": "GOOGL", "sources": [{"kind": "path", "path": "prices.csv"}], **dataset}
    Path("params.yaml").write_text(yaml.safe_dump({"datasets": {"stock": content}}))


def _write_public_copy(path: Path) -> None:
    """As the well-known copy has it: up to 2014-03-26, the close alone is on the scale before the split."""
    days = (date(2014, 1, 2) + timedelta(number) for number in range(150))
    rows = []
    for number, day in enumerate(day for day in days if day.weekday() < 5):
        middle = 560 + 10 * (number % 7)
        close = (middle + 2) * (1.998 if day <= date(2014, 3, 26) else 1)
        cells = [f"{day.month}/{day.day}/{day.year}", middle, middle + 5, middle - 5, f'"{close:,.2f}"', '"1,000"']
        rows.append(",".join(str(cell) for cell in cells) + "\n")
    path.write_text("Date,Open,High,Low,Close,Volume\n" + "".join(rows))


def test_close_before_the_split_is_caught_and_rescaled(capsys: pytest.CaptureFixture[str]) -> None:
    _write_public_copy(Path("prices.csv"))
    _params()
    ingest.run("stock")
    with pytest.raises(ExpectationError, match=r"`datasets\.stock\.rescale_close: true`"):
        validate.run("stock")
    verdict = json.loads(Path("data/validation/stock/verdict.json").read_text())
    assert (verdict["passed"], verdict["rows"]) == (False, 107)
    assert {one["expectation"]: one["failed_rows"] for one in verdict["expectations"] if not one["passed"]} == {
        "close is on the scale of open, high and low": 60,
        "close ≤ high": 60,
        "no daily move of close beyond 25 %": 1,
    }
    assert Path("data/validation/stock/docs/index.html").is_file()

    _params(rescale_close=True)
    ingest.run("stock")
    validate.run("stock")
    assert json.loads(Path("data/validation/stock/verdict.json").read_text())["passed"] is True
    assert "stock: 107 rows pass all 21 expectations; see data/validation/stock/docs" in capsys.readouterr().out


def test_table_that_does_not_exist_or_is_not_parquet() -> None:
    _params()
    with pytest.raises(DataError, match=r"prices\.parquet is not there; run `unroll ingest stock`"):
        validate.run("stock")
    table = Path("data/raw/stock/prices.parquet")
    table.parent.mkdir(parents=True)
    table.write_bytes(b"something else")
    with pytest.raises(FormatError, match=r"prices\.parquet is not a readable Parquet file"):
        validate.run("stock")
