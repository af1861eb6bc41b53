"""The suites of every domain on made tables with one fault of each kind, and how outcomes are reported."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import great_expectations as gx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tiny_tables
from great_expectations import expectations as gxe
from pydantic import TypeAdapter

from unroll.config.params import DATASET
from unroll.config.sources import PathSource
from unroll.domains import domain_of
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
    # A high that a rounding error puts below the close is sound, too.
    outcomes = _check_prices(_prices(high={3: 101 - 2e-14}), tmp_path / "docs")
    assert len(outcomes) == 21
    assert _failed(outcomes) == {}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    pages = {path.relative_to(tmp_path / "docs"): path.read_bytes() for path in files}
    assert Path("index.html") in pages
    assert any("no gap beyond 7 days" in page.decode() for path, page in pages.items() if path.suffix == ".html")
    assert not any(str(tmp_path).encode() in page for page in pages.values())
    _check_prices(_prices(high={3: 101 - 2e-14}), tmp_path / "again")
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
        "rows on trading days": 1,
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
        f"ticker='X', date=2014-01-{day}, high_limit=100.5, close=101" for day in (15, 16, 17)
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
    schema = digits.SCHEMA.with_metadata({"labels": json.dumps(list("0123456789"))})
    # Great Expectations gives an id to what it has run, and refuses it in another suite: each call makes its own.
    for time in ("first", "second"):
        suites = digit_expectations.make_suites(pa.table(columns, schema=schema), "mnist", section)
        outcomes = run_suites(suites, tmp_path / time)
        assert {one.expectation: one.failed_rows for one in outcomes if not one.passed} == {
            "each class has 8 to 13 % of its split": 10,
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


Faults = dict[int, dict[str, Any]]
Failed = dict[str, int | None]
"""How many rows each failed expectation found; None where it is not about rows."""

DOMAINS = ("texts", "pairs", "articles", "recordings", "tagged", "tunes")


def _sound(domain, row):
    """A sound row; no two are equal."""
    rows: dict[str, dict[str, Any]] = {
        "texts": {"text": f"film {row}", "label": None, "rating": row / 2},
        "pairs": {"source": f"film {row}", "target": f"le film {row}"},
        "articles": {"text": f"= Film {row} ="},
        "recordings": {"label": row % 3, "frames": [[row, 1.0, 0, 0], [2.0, 3.0, 0, 0]]},
        "tunes": {"text": f"M:6/8 K:D C{row}"},
        "tagged": {"tokens": ["EU", "rejects", f"{row}"], "tags": ["B-ORG", "O", "O"]},
    }
    return {"row_id": row, "split": ("train", "valid", "test")[row % 3], **rows[domain]}


REPEATED: Faults = {row: {"text": "= Reception ="} for row in (1, 5, 9, 11)}
LABELS: Faults = {row: {"label": "good", "rating": None} for row in range(12)}
CASES: dict[str, tuple[str, dict[str, Any], Faults, Failed]] = {
    **{f"sound {domain}": (domain, {}, {}, {}) for domain in DOMAINS},
    "common": (
        "pairs",
        {"expectations": {"min_rows": 13, "max_length": 40, "max_duplicates": 0.0}},
        {
            0: {"split": "dev"},
            1: {"row_id": 2},
            2: {"split": "train"},
            3: {"target": ""},
            4: {"source": None},
            5: {"source": "x" * 100, "split": "train"},
            7: {"source": "film 6", "target": "le film 6"},
            8: {"split": None},
            11: {"split": None},
        },
        {
            "at least 13 rows": None,
            "row_id is unique": 2,
            "split is train, valid or test": 1,
            "1 to 40 source characters": 2,
            "1 to 40 target characters": 1,
            "at most 0 % of the rows repeat an earlier one": 1,
            "split is never empty": 2,
            "rows for test, train, valid": None,
        },
    ),
    "repeated, accepted": ("articles", {"expectations": {"max_duplicates": 3 / 12}}, REPEATED, {}),
    "repeated, rejected": (
        "articles",
        {"expectations": {"max_duplicates": 2 / 12}},
        REPEATED,
        {"at most 16.67 % of the rows repeat an earlier one": 3},
    ),
    "ratings": (
        "texts",
        {},
        {row: {"rating": {2: None, 4: float("nan")}.get(row, 1.0)} for row in range(12)},
        {"rating is never empty": 2, "ratings differ": None},
    ),
    "labels": (
        "texts",
        {"labels": ("good", "bad")},
        {**LABELS, 3: {"label": "godo", "rating": None}, 4: {"label": None, "rating": None}},
        {"label is never empty": 1, "every label is declared": 1, "every declared label occurs": None},
    ),
    "recordings": (
        "recordings",
        {"expectations": {"max_duplicates": 0.0}},
        {
            0: {"frames": [[0.0, np.nan, 0, 0]]},
            1: {"frames": []},
            2: {"frames": None},
            3: {"label": -1},
            4: {"label": None},
            5: {"label": 4},
            7: {"frames": [[6.0, 1.0, 0, 0], [2.0, 3.0, 0, 0]]},
        },
        {
            "1 to 10,000 frames": 2,
            "at most 0 % of the rows repeat an earlier one": 1,
            "label is never empty": 1,
            "labels count from 0": 1,
            "every label occurs": None,
            "frames are finite": 1,
        },
    ),
    "tagged": (
        "tagged",
        {},
        {
            0: {"tags": ["B-ORG", "O"]},
            1: {"tags": ["O", "I-ORG", "O"]},
            2: {"tags": ["B-ORG", "B-LOC", "O"]},
            3: {"tags": ["B-ORG", "ORG", "O"]},
            4: {"tokens": [], "tags": []},
            5: {"tags": None},
        },
        {
            "1 to 10,000 tokens": 1,
            "every token has a tag": 2,
            "tags follow IOB2": 2,
            # I-ORG is in valid, B-LOC in test only.
            "every tag occurs in train": None,
        },
    ),
}


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """Of all cases, in one run, since building the pages takes most of the time."""
    suites: list[Any] = []
    cases: list[str] = []
    for case, (domain, options, faults, _) in CASES.items():
        rows = [{**_sound(domain, row), **faults.get(row, {})} for row in range(12)]
        table = tiny_tables.table(domain, rows)
        sources = tuple({"kind": "path", "path": "unused", "split": split} for split in ("train", "valid", "test"))
        section = TypeAdapter(DATASET).validate_python({"domain": domain, "sources": sources, **options})
        for frame, suite in domain_of(domain).part("expectations").make_suites(table, "own", section):
            suite.name = f"{case}: {suite.name}"
            suites.append((frame, suite))
            cases += [case] * len(suite.expectations)
    found: dict[str, Failed] = {case: {} for case in CASES}
    for case, one in zip(cases, run_suites(suites, tmp_path_factory.mktemp("docs")), strict=True):
        if not one.passed:
            found[case][one.expectation] = one.failed_rows
    return found


@pytest.mark.parametrize("case", CASES)
def test_faults_are_found_and_counted(failed, case):
    assert failed[case] == CASES[case][-1]
