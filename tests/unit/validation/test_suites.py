"""The suites of prices and digits, on made tables with one fault of each kind, and how outcomes are reported."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import great_expectations as gx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from great_expectations import expectations as gxe

from unroll.config.sources import PathSource
from unroll.domains.digits import dataset as digits
from unroll.domains.digits import expectations as digit_expectations
from unroll.domains.digits.config import DigitDataset
from unroll.domains.prices import dataset as prices
from unroll.domains.prices import expectations as price_expectations
from unroll.domains.prices.config import PriceDataset
from unroll.errors import ExpectationError
from unroll.validation.suites import Outcome, require_passed, run_suites, write_verdict

SOURCES = (PathSource(kind="path", path="unused"),)
SCHEMA = prices.SCHEMA.append(pa.field("split", pa.string()))
DAYS = [day for day in (date(2014, 1, 6) + timedelta(number) for number in range(60)) if day.weekday() < 5][:30]


def _prices(**changes: dict[int, Any]) -> pa.Table:
    """Thirty sound days, except for the cells in `changes`: column={row: value}."""
    values = {"open": 100.0, "high": 102.0, "low": 98.0, "close": 101.0, "adj_close": None, "volume": 1000}
    rows = [{"ticker": "X", "date": day, "split": None, **values} for day in DAYS]
    for name, cells in changes.items():
        for row, value in cells.items():
            rows[row][name] = value
    return prices.sort(pa.Table.from_pylist(rows, schema=SCHEMA))


def _check_prices(table: pa.Table, docs: Path, **bounds: Any) -> dict[str, Outcome]:
    section = PriceDataset(domain="prices", ticker="X", sources=SOURCES, expectations=bounds)
    return {one.expectation: one for one in run_suites(price_expectations.make_suites(table, "stock", section), docs)}


def _failed(outcomes: dict[str, Outcome]) -> dict[str, tuple[int | None, list[str]]]:
    return {one.expectation: (one.failed_rows, one.examples) for one in outcomes.values() if not one.passed}


def test_sound_prices_pass_and_leave_pages_without_times_and_paths(tmp_path: Path) -> None:
    outcomes = _check_prices(_prices(), tmp_path / "docs")
    assert len(outcomes) == 21
    assert _failed(outcomes) == {}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    pages = {path.relative_to(tmp_path / "docs"): path.read_bytes() for path in files}
    assert Path("index.html") in pages
    assert any("no gap beyond 7 days" in page.decode() for path, page in pages.items() if path.suffix == ".html")
    assert not any(str(tmp_path).encode() in page for page in pages.values())
    _check_prices(_prices(), tmp_path / "again")
    assert pages == {path: (tmp_path / "again" / path).read_bytes() for path in pages}


def test_faults_of_prices(tmp_path: Path) -> None:
    faulty = _prices(
        open={3: 97.0, 4: 103.0, 5: -1.0},
        high={7: 100.5, 8: 100.5, 9: 100.5, 10: 100.5},
        low={12: 101.5},
        close={14: 50.0, 16: 101.5},
        adj_close={15: 0.0},
        volume={18: -7},
        date={20: DAYS[19], 21: date(2014, 2, 8), 29: date(2014, 3, 3)},
    )
    outcomes = _check_prices(faulty, tmp_path / "docs")

    def row(day: str, values: str = "") -> str:
        return f"ticker='X', date=2014-{day}" + (f", {values}" if values else "")

    assert _failed(outcomes) == {
        "one row for each ticker and date": (2, [row("01-31"), row("01-31")]),
        "no rows on weekends": (1, [row("02-08", "weekday=5")]),
        "open > 0": (1, [row("01-13", "open=-1")]),
        "adj_close > 0": (1, [row("01-27", "adj_close=0")]),
        "low ≤ open": (
            3,
            [row("01-09", "open=97, low=98"), row("01-13", "open=-1, low=98"), row("01-22", "open=100, low=101.5")],
        ),
        "low ≤ close": (2, [row("01-22", "close=101, low=101.5"), row("01-24", "close=50, low=98")]),
        "open ≤ high": (1, [row("01-10", "high=102, open=103")]),
        "close ≤ high": (4, [row(f"01-{day}", "high=100.5, close=101") for day in (15, 16, 17)]),
        "no daily move of close beyond 25 %": (
            2,
            [row("01-24", "daily_move=-0.50495"), row("01-27", "daily_move=1.02")],
        ),
        "dates increase, with no gap beyond 7 days": (1, [row("03-03", "days_since_previous=18")]),
        "volume ≥ 0": (1, [row("01-30", "volume=-7")]),
    }
    with pytest.raises(ExpectationError) as caught:
        require_passed("stock", list(outcomes.values()))
    lines = str(caught.value).splitlines()
    assert (lines[0], len(lines)) == ("dataset stock fails 11 of 21 expectations:", 12)
    assert lines[10] == (
        "  - dates increase, with no gap beyond 7 days: 1 row, first: ticker='X', date=2014-03-03, "
        "days_since_previous=18 (bound: `datasets.stock.expectations.max_gap_days`)"
    )


def test_bounds_come_from_the_parameters_and_another_scale_is_explained(tmp_path: Path) -> None:
    table = _prices(close=dict.fromkeys(range(20), 202.0) | {21: 99.0}, date={29: date(2014, 3, 3)})
    outcomes = _check_prices(table, tmp_path, max_daily_move=0.51, max_gap_days=18)
    scale = outcomes["close is on the scale of open, high and low"]
    assert set(_failed(outcomes)) == {scale.expectation, "close ≤ high"}
    assert (scale.failed_rows, scale.examples[0]) == (20, "ticker='X', date=2014-01-06, close_scale=2.02")
    assert "2.02 times the scale of open, high and low from 2014-01-06 to 2014-01-31 (20 rows)" in scale.notes
    assert "`datasets.stock.rescale_close: true`" in scale.notes


def _check_digits(docs: Path, changes: Any = None, *, train: int = 100, test: int = 40, **bounds: Any) -> Any:
    columns = {
        "row_id": np.arange(train + test),
        "split": ["train"] * train + ["test"] * test,
        "label": (np.arange(train + test) % 10).astype(np.uint8),
        "pixels": np.random.default_rng(0).integers(0, 256, (train + test, 784), dtype=np.uint8),
    }
    if changes:
        changes(columns)
    pixels = pa.FixedSizeListArray.from_arrays(pa.array(columns["pixels"].reshape(-1)), 784)
    table = pa.table({**columns, "pixels": pixels}, schema=digits.SCHEMA)
    section = DigitDataset(domain="digits", sources=SOURCES, expectations=bounds)
    outcomes = run_suites(digit_expectations.make_suites(table, "mnist", section), docs)
    return _failed({one.expectation: one for one in outcomes})


def _repeat(columns: Any) -> None:
    columns["pixels"][[120, 121, 122]] = columns["pixels"][[17, 18, 19]]


def test_sound_digits_with_as_many_duplicates_as_stated(tmp_path: Path) -> None:
    assert _check_digits(tmp_path, _repeat, max_duplicates=3) == {}


def test_faults_of_digits(tmp_path: Path) -> None:
    def change(columns: Any) -> None:
        _repeat(columns)
        columns["pixels"][5] = 0
        columns["pixels"][6] = 255
        columns["label"][7] = 12
        columns["label"][100:140] = 3

    failed = _check_digits(tmp_path, change, max_duplicates=2)
    assert failed.pop("each digit has 8 to 13 % of its split") == (
        10,
        [f"split='test', label={label}, share=0" for label in (0, 1, 2)],
    )
    assert failed == {
        "no image is blank": (
            2,
            [f"row_id={row}, split='train', brightest={value}, darkest={value}" for row, value in ((5, 0), (6, 255))],
        ),
        "labels from 0 to 9": (1, ["row_id=7, split='train', label=12"]),
        "at most 2 test images are in train, too": (
            3,
            [f"row_id={row}, split='test', duplicate_of={twin}" for row, twin in ((120, 17), (121, 18), (122, 19))],
        ),
    }


def test_split_without_images_and_repeated_ids(tmp_path: Path) -> None:
    failed = _check_digits(tmp_path, lambda columns: columns["row_id"].__setitem__(9, 8), test=0)
    assert failed["images for train and test"] == (None, ["missing test"])
    assert failed["row_id is unique"] == (2, ["row_id=8, split='train'"] * 2)


def test_verdict(tmp_path: Path) -> None:
    outcomes = [Outcome("a ≤ b", True, 0, [], ""), Outcome("c", False, None, ["found 1"], "why")]
    write_verdict(tmp_path / "verdict.json", 12, outcomes)
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    assert (verdict["passed"], verdict["rows"]) == (False, 12)
    assert verdict["expectations"][1] == {
        "expectation": "c",
        "passed": False,
        "failed_rows": None,
        "examples": ["found 1"],
        "notes": "why",
    }


def test_expectation_that_cannot_be_evaluated(tmp_path: Path) -> None:
    expectation = gxe.ExpectColumnValuesToBeBetween(column="b", min_value=0, description="b > 0")
    suite = gx.ExpectationSuite("frame", [expectation], meta={"row": ["a"]})
    with pytest.raises(RuntimeError, match="'b > 0' cannot be evaluated"):
        run_suites([(pd.DataFrame({"a": [1]}), suite)], tmp_path)
