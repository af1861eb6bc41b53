"""The suites of both datasets, on made tables with one fault of each kind."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from unroll.domains.digits import dataset as digits
from unroll.domains.digits import expectations as digit_expectations
from unroll.domains.digits.config import DigitExpectations
from unroll.domains.prices import dataset as prices
from unroll.domains.prices import expectations as price_expectations
from unroll.domains.prices.config import PriceExpectations
from unroll.errors import ExpectationError
from unroll.validation import expectations
from unroll.validation.expectations import Check, Outcome

PRICES = prices.SCHEMA.append(pa.field("split", pa.string()))


def _days(count: int) -> list[date]:
    days = (date(2014, 1, 6) + timedelta(number) for number in range(2 * count))
    return [day for day in days if day.weekday() < 5][:count]


def _prices(**changes: dict[int, Any]) -> pa.Table:
    """Thirty sound days, but for the cells in `changes`: column=={row: value}."""
    count = 30
    columns: dict[str, list[Any]] = {
        "ticker": ["X"] * count,
        "date": list(_days(count)),
        "open": [100.0] * count,
        "high": [102.0] * count,
        "low": [98.0] * count,
        "close": [101.0] * count,
        "adj_close": [None] * count,
        "volume": [1000] * count,
        "split": [None] * count,
    }
    for name, cells in changes.items():
        for row, value in cells.items():
            columns[name][row] = value
    return prices.in_order(pa.table(columns, schema=PRICES))


def _check_prices(table: pa.Table, docs: Path, **bounds: Any) -> dict[str, Outcome]:
    frames, checks = price_expectations.expectations(table, "stock", PriceExpectations(**bounds))
    return {outcome.what: outcome for outcome in expectations.validate(frames, checks, docs)}


def _failed(outcomes: dict[str, Outcome]) -> dict[str, tuple[int, list[str]]]:
    return {what: (one.failed_rows, one.examples) for what, one in outcomes.items() if not one.passed}


def test_sound_prices_pass_and_leave_pages_without_times_or_places(tmp_path: Path) -> None:
    outcomes = _check_prices(_prices(), tmp_path / "docs")
    assert _failed(outcomes) == {}
    assert len(outcomes) == 23
    pages = {page.relative_to(tmp_path).as_posix(): page.read_text() for page in tmp_path.rglob("*.html")}
    assert "docs/index.html" in pages
    assert any("no hole beyond 7 days" in page for page in pages.values())
    assert not any(str(tmp_path) in page for page in pages.values())
    _check_prices(_prices(), tmp_path / "again")
    for page in (tmp_path / "docs").rglob("*"):
        if page.is_file():
            assert page.read_bytes() == (tmp_path / "again" / page.relative_to(tmp_path / "docs")).read_bytes(), page


def test_each_fault_of_prices_is_found_counted_and_shown(tmp_path: Path) -> None:
    days = _days(30)
    faulty = _prices(
        open={3: 97.0, 4: 103.0, 5: -1.0},
        high={7: 100.5, 8: 100.5, 9: 100.5, 10: 100.5},
        low={12: 101.5},
        close={14: 50.0, 16: 101.5},
        adj_close={15: 0.0},
        volume={18: -7},
        date={20: days[19], 21: date(2014, 2, 8), 29: date(2014, 3, 3)},
    )
    outcomes = _check_prices(faulty, tmp_path / "docs")
    assert _failed(outcomes) == {
        "one row a ticker and date": (2, ["X 2014-01-31: close 101", "X 2014-01-31: close 101"]),
        "no rows on weekends": (1, ["X 2014-02-08: weekday 5"]),
        "open > 0": (1, ["X 2014-01-13: open -1"]),
        "adj_close > 0": (1, ["X 2014-01-27: adj_close 0"]),
        "low ≤ open": (
            3,
            [
                "X 2014-01-09: low 98, open 97",
                "X 2014-01-13: low 98, open -1",
                "X 2014-01-22: low 101.5, open 100",
            ],
        ),
        "low ≤ close": (2, ["X 2014-01-22: low 101.5, close 101", "X 2014-01-24: low 98, close 50"]),
        "open ≤ high": (1, ["X 2014-01-10: open 103, high 102"]),
        "close ≤ high": (
            4,
            [
                "X 2014-01-15: close 101, high 100.5",
                "X 2014-01-16: close 101, high 100.5",
                "X 2014-01-17: close 101, high 100.5",
            ],
        ),
        "no daily move of close beyond 25 %": (
            2,
            ["X 2014-01-24: close 50, daily_move -0.50495", "X 2014-01-27: close 101, daily_move 1.02"],
        ),
        "no hole beyond 7 days": (1, ["X 2014-03-03: days_since_previous 18"]),
        "volume ≥ 0": (1, ["X 2014-01-30: volume -7"]),
    }
    with pytest.raises(ExpectationError, match=r"dataset stock fails 11 of 23 expectations:\n") as caught:
        expectations.require("stock", list(outcomes.values()))
    lines = str(caught.value).splitlines()
    assert len(lines) == 12
    assert lines[1] == (
        "  - one row a ticker and date: 2 rows, first: X 2014-01-31: close 101; X 2014-01-31: close 101 — "
        "remove the repeated rows from the source"
    )


def test_bounds_come_from_the_parameters(tmp_path: Path) -> None:
    table = _prices(close={14: 99.0}, date={29: date(2014, 3, 3)})
    outcomes = _check_prices(table, tmp_path / "docs", max_daily_move=0.01, max_gap_days=18)
    assert set(_failed(outcomes)) == {"no daily move of close beyond 1 %"}


def test_close_on_another_scale_is_explained_with_ratio_dates_and_remedy(tmp_path: Path) -> None:
    outcomes = _check_prices(_prices(close=dict.fromkeys(range(20), 202.0)), tmp_path / "docs")
    scale = outcomes["close is on the scale of open, high and low"]
    assert scale.failed_rows == 20
    assert "X is 2.02 times the scale of open, high and low from 2014-01-06 to 2014-01-31 (20 rows)" in scale.line()
    assert "`rescale_close: true` under datasets.stock in params.yaml" in scale.line()


def test_other_types_are_told_column_by_column(tmp_path: Path) -> None:
    table = _prices()
    table = table.set_column(7, "volume", table.column("volume").cast(pa.string())).drop_columns("split")
    (outcome,) = _check_prices(table, tmp_path / "docs").values()
    assert outcome.failed_rows == 2
    assert outcome.examples == [
        "volume: found string, expected int64",
        "split: found (none), expected string",
    ]


def _digits(train: int = 100, test: int = 40) -> dict[str, Any]:
    random = np.random.default_rng(0)
    count = train + test
    return {
        "row_id": np.arange(count),
        "split": ["train"] * train + ["test"] * test,
        "label": (np.arange(count) % 10).astype(np.uint8),
        "pixels": random.integers(0, 256, (count, 784), dtype=np.uint8),
    }


def _check_digits(columns: dict[str, Any], docs: Path, **bounds: Any) -> dict[str, Outcome]:
    pixels = pa.FixedSizeListArray.from_arrays(pa.array(columns["pixels"].reshape(-1)), 784)
    table = pa.table({**columns, "pixels": pixels}, schema=digits.SCHEMA)
    frames, checks = digit_expectations.expectations(table, "mnist", DigitExpectations(**bounds))
    return {outcome.what: outcome for outcome in expectations.validate(frames, checks, docs)}


def test_sound_digits_pass(tmp_path: Path) -> None:
    outcomes = _check_digits(_digits(), tmp_path / "docs")
    assert _failed(outcomes) == {}
    assert len(outcomes) == 12


def test_each_fault_of_digits_is_found_counted_and_shown(tmp_path: Path) -> None:
    columns = _digits()
    columns["pixels"][5] = 0
    columns["pixels"][6] = 255
    columns["pixels"][[120, 121, 122]] = columns["pixels"][[17, 18, 19]]
    columns["label"][7] = 12
    columns["label"][100:140] = 3
    outcomes = _check_digits(columns, tmp_path / "docs", max_duplicates=2)
    failed = _failed(outcomes)
    assert failed.pop("each digit has 8 to 13 % of its split") == (
        10,
        ["digit 0 in test: 0 images, 0", "digit 1 in test: 0 images, 0", "digit 2 in test: 0 images, 0"],
    )
    assert failed == {
        "no blank image": (2, ["image 5 (train): every pixel is 0", "image 6 (train): every pixel is 255"]),
        "labels from 0 to 9": (1, ["image 7 (train): label 12"]),
        "at most 2 test images stand in training, too": (
            3,
            [
                "image 120 is training image 17",
                "image 121 is training image 18",
                "image 122 is training image 19",
            ],
        ),
    }


def test_a_stated_few_duplicates_are_borne(tmp_path: Path) -> None:
    columns = _digits()
    columns["pixels"][[120, 121, 122]] = columns["pixels"][[17, 18, 19]]
    assert _failed(_check_digits(columns, tmp_path / "docs", max_duplicates=3)) == {}


def test_split_without_images_and_repeated_ids(tmp_path: Path) -> None:
    columns = _digits(train=100, test=0)
    columns["row_id"][9] = 8
    failed = _failed(_check_digits(columns, tmp_path / "docs"))
    assert failed["every split has images"] == (1, ["test: 0"])
    assert failed["row_id is unique"] == (2, ["image 8 (train)", "image 8 (train)"])


def test_verdict_has_the_stated_form(tmp_path: Path) -> None:
    outcomes = [Outcome("a ≤ b", True, 0, [], ""), Outcome("c", False, 4, ["row 1"], "why")]
    expectations.write_verdict(tmp_path / "verdict.json", 12, outcomes)
    assert json.loads((tmp_path / "verdict.json").read_text()) == {
        "passed": False,
        "rows": 12,
        "expectations": [
            {"what": "a ≤ b", "passed": True, "failed_rows": 0, "examples": []},
            {"what": "c", "passed": False, "failed_rows": 4, "examples": ["row 1"]},
        ],
    }


def test_an_expectation_that_cannot_be_computed_is_no_verdict(tmp_path: Path) -> None:
    check = Check("a > 0", "frame", "ExpectColumnValuesToBeBetween", {"column": "b", "min_value": 0}, "{a}")
    with pytest.raises(RuntimeError, match="ExpectColumnValuesToBeBetween of 'a > 0' broke"):
        expectations.validate({"frame": pd.DataFrame({"a": [1]})}, [check], tmp_path / "docs")
