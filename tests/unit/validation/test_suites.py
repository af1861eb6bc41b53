"""The suites of prices and digits, on made tables with one fault of each kind, and how outcomes are reported."""

from datetime import date, timedelta
from pathlib import Path

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
from unroll.validation.suites import require_passed, run_suites

SOURCES = (PathSource(kind="path", path="unused"),)
SCHEMA = prices.SCHEMA.append(pa.field("split", pa.string()))
DAYS = [day for day in (date(2014, 1, 6) + timedelta(number) for number in range(60)) if day.weekday() < 5][:30]


def _prices(**changes):
    """Thirty sound days, except for the cells in `changes`: column={row: value}."""
    values = {"open": 100.0, "high": 102.0, "low": 98.0, "close": 101.0, "adj_close": None, "volume": 1000}
    rows = [{"ticker": "X", "date": day, "split": None, **values} for day in DAYS]
    for name, cells in changes.items():
        for row, value in cells.items():
            rows[row][name] = value
    return prices.sort(pa.Table.from_pylist(rows, schema=SCHEMA))


def _check_prices(table, docs, **bounds):
    section = PriceDataset(domain="prices", ticker="X", sources=SOURCES, expectations=bounds)
    return {one.expectation: one for one in run_suites(price_expectations.make_suites(table, "stock", section), docs)}


def _failed(outcomes):
    return {one.expectation: (one.failed_rows, one.examples) for one in outcomes.values() if not one.passed}


def test_sound_prices_pass_and_leave_pages_without_times_and_paths(tmp_path):
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


def test_faults_of_prices(tmp_path):
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

    found = _failed(outcomes)
    assert {name: rows for name, (rows, _) in found.items()} == {
        "one row for each ticker and date": 2,
        "no rows on weekends": 1,
        "open > 0": 1,
        "adj_close > 0": 1,
        "low ≤ open": 3,
        "low ≤ close": 2,
        "open ≤ high": 1,
        "close ≤ high": 4,
        "no daily move of close beyond 25 %": 2,
        "dates increase, with no gap beyond 7 days": 1,
        "volume ≥ 0": 1,
    }
    # The first three are shown.
    assert found["close ≤ high"][1] == [
        f"ticker='X', date=2014-01-{day}, high=100.5, close=101" for day in (15, 16, 17)
    ]
    with pytest.raises(ExpectationError) as caught:
        require_passed("stock", list(outcomes.values()))
    lines = str(caught.value).splitlines()
    assert (lines[0], len(lines)) == ("dataset stock fails 11 of 21 expectations:", 12)
    assert lines[10] == (
        "  - dates increase, with no gap beyond 7 days: 1 row, first: ticker='X', date=2014-03-03, "
        "days_since_previous=18 (bound: `datasets.stock.expectations.max_gap_days`)"
    )


def test_bounds_come_from_the_parameters_and_another_scale_is_explained(tmp_path):
    table = _prices(close=dict.fromkeys(range(20), 202.0) | {21: 99.0}, date={29: date(2014, 3, 3)})
    outcomes = _check_prices(table, tmp_path, max_daily_move=0.51, max_gap_days=18)
    scale = outcomes["close is on the scale of open, high and low"]
    assert set(_failed(outcomes)) == {scale.expectation, "close ≤ high"}
    assert (scale.failed_rows, scale.examples[0]) == (20, "ticker='X', date=2014-01-06, close_scale=2.02")
    assert "2.02 times the scale of open, high and low from 2014-01-06 to 2014-01-31 (20 rows)" in scale.notes
    assert "`datasets.stock.rescale_close: true`" in scale.notes


def test_faults_of_digits(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (140, 784), dtype=np.uint8)
    images[[120, 121, 122]] = images[[17, 18, 19]]
    images[5], images[6] = 0, 255
    labels = (np.arange(140) % 10).astype(np.uint8)
    labels[7], labels[100:] = 12, 3
    columns = {
        "row_id": [*range(9), 8, *range(10, 140)],
        "split": ["train"] * 100 + ["test"] * 40,
        "label": labels,
        "pixels": pa.FixedSizeListArray.from_arrays(pa.array(images.reshape(-1)), 784),
    }
    section = DigitDataset(domain="digits", sources=SOURCES, expectations={"max_duplicates": 2})
    suites = digit_expectations.make_suites(pa.table(columns, schema=digits.SCHEMA), "mnist", section)
    assert {one.expectation: one.failed_rows for one in run_suites(suites, tmp_path) if not one.passed} == {
        "each digit has 8 to 13 % of its split": 10,
        "no image is blank": 2,
        "labels from 0 to 9": 1,
        "at most 2 test images are in train, too": 3,
        "row_id is unique": 2,
    }


def test_expectation_that_cannot_be_evaluated(tmp_path):
    expectation = gxe.ExpectColumnValuesToBeBetween(column="b", min_value=0, description="b > 0")
    suite = gx.ExpectationSuite("frame", [expectation], meta={"row": ["a"]})
    with pytest.raises(RuntimeError, match="'b > 0' cannot be evaluated"):
        run_suites([(pd.DataFrame({"a": [1]}), suite)], tmp_path)
