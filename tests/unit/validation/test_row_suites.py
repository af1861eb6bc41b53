"""The suites of texts, pairs, articles, recordings, tunes and tagged sentences, each with its faults."""

from typing import Any

import numpy as np
import pytest
import tiny_tables
from pydantic import TypeAdapter

from unroll.config.params import DATASET
from unroll.domains import domain_of
from unroll.validation.suites import run_suites

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
