"""What texts, pairs, articles, recordings, melodies and tagged sentences have to keep, each with its faults."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import TypeAdapter
from unroll.domains.tunes import dataset as melodies

from unroll.config.params import DATASET
from unroll.domains.articles import dataset as articles
from unroll.domains.pairs import dataset as pairs
from unroll.domains.recordings import dataset as recordings
from unroll.domains.tagged import dataset as tagged
from unroll.domains.texts import dataset as texts
from unroll.validation import expectations, row_expectations, row_frames

COUNT = 12
TAGGED = {"tokens": ["EU", "rejects", "it"], "tags": ["B-ORG", "O", "O"]}
TUNE = {"file": "a.abc", "title": "A", "key": "D", "mode": "major", "meter": "6/8"}
SCHEMAS = {
    "texts": texts.SCHEMA,
    "pairs": pairs.SCHEMA,
    "articles": articles.SCHEMA,
    "recordings": recordings.schema(2),
    "melodies": melodies.SCHEMA,
    "tagged": tagged.SCHEMA,
}
SPLIT = ["train", "valid", "test"] * 4


def _sound(kind: str, row: int) -> dict[str, Any]:
    """A sound row; no two are alike."""
    rows: dict[str, dict[str, Any]] = {
        "texts": {"text": f"film {row}", "label": None, "rating": row / 2},
        "pairs": {"source": f"film {row}", "target": f"le film {row}"},
        "articles": {"text": f"= Film {row} =", "split": SPLIT[row]},
        "recordings": {"label": row % 3, "frames": [[row, 1.0], [2.0, 3.0]]},
        "melodies": {**TUNE, "notes": f"mode:major meter:6/8 {row}_12 r_12 -1_36 |"},
        "tagged": {**TAGGED, "tokens": ["EU", "rejects", f"{row}"], "split": SPLIT[row]},
    }
    return {"row_id": row, "split": None, **rows[kind]}


def _table(kind: str, faults: Mapping[int, dict[str, Any]] | None = None, **every: Any) -> pa.Table:
    """Twelve sound rows, but for the cells in `faults`: {row: {column: value}}."""
    rows = [{**_sound(kind, row), **every, **(faults or {}).get(row, {})} for row in range(COUNT)]
    return pa.Table.from_pylist(rows, schema=SCHEMAS[kind])


def _failed(docs: Path, kind: str, table: pa.Table, **options: Any) -> dict[str, tuple[int, list[str]]]:
    """Rows and examples of each expectation that fails."""
    sources = tuple({"kind": "path", "path": "unused", "split": split} for split in ("train", "valid", "test"))
    section = TypeAdapter(DATASET).validate_python({"domain": kind, "sources": sources, **options})
    frames, checks = row_expectations.expectations(table, "own", section)
    outcomes = expectations.validate(frames, checks, docs)
    return {one.what: (one.failed_rows, one.examples) for one in outcomes if not one.passed}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_sound_rows_pass(kind: str, tmp_path: Path) -> None:
    assert _failed(tmp_path / "docs", kind, _table(kind)) == {}
    assert (tmp_path / "docs" / "index.html").is_file()


def test_what_all_kinds_have_in_common(tmp_path: Path) -> None:
    faults = {
        0: {"split": "dev"},
        1: {"row_id": 2},
        3: {"target": ""},
        4: {"source": None},
        5: {"source": "x" * 41, "split": "train"},
        7: {"source": "film 6", "target": "le film 6"},
    }
    bounds = {"min_rows": 13, "max_length": 40, "max_duplicates": 0.0}
    assert _failed(tmp_path, "pairs", _table("pairs", faults), expectations=bounds) == {
        "at least 13 rows": (1, ["12 rows"]),
        "row_id is unique": (2, ["row 2 (film 1)", "row 2 (film 2)"]),
        "split is train, valid or test": (1, ["row 0 (film 0): dev"]),
        "all rows have a split, or none has": (1, ["10 of 12 rows have none"]),
        "no sentence is empty": (2, ["row 3 (film 3)", "row 4 ()"]),
        "no sentence has more than 40 characters": (1, [f"row 5 ({'x' * 41}): 41 characters"]),
        "at most 0 % of the rows repeat an earlier one": (1, ["row 7 (film 6) is row 6"]),
    }


@pytest.mark.parametrize(("most", "passes"), [(3 / 12, True), (2 / 12, False)])
def test_share_of_duplicates_is_exact(most: float, passes: bool, tmp_path: Path) -> None:
    table = _table("articles", {row: {"text": "= Reception ="} for row in (1, 5, 9, 11)})
    failed = _failed(tmp_path, "articles", table, expectations={"max_duplicates": most})
    assert (failed == {}) is passes
    assert passes or next(iter(failed.values()))[0] == 3


def test_ratings(tmp_path: Path) -> None:
    table = _table("texts", {2: {"rating": None}, 4: {"rating": float("nan")}, 5: {"rating": float("inf")}})
    failed = _failed(tmp_path, "texts", table)
    assert failed["ratings are finite"] == (1, ["row 5 (film 5): inf"])
    assert failed["rating is never empty"][0] == 2
    assert len(failed) == 2


def test_ratings_that_are_all_the_same(tmp_path: Path) -> None:
    assert _failed(tmp_path, "texts", _table("texts", rating=1.0)) == {"ratings differ": (1, ["1 rating"])}


def test_labels(tmp_path: Path) -> None:
    table = _table("texts", {3: {"label": "godo"}, 4: {"label": None}}, label="good", rating=None)
    assert _failed(tmp_path, "texts", table, labels=("good", "bad")) == {
        "label is never empty": (1, ["row 4 (film 4)"]),
        "label is a declared one": (1, ["row 3 (film 3): godo"]),
        "every label has rows": (1, ["bad"]),
    }


@pytest.mark.parametrize("kind", ["articles", "tagged"])
def test_every_split_has_rows(kind: str, tmp_path: Path) -> None:
    table = _table(kind, {0: {"split": None}}, split="train")
    failed = _failed(tmp_path, kind, table)
    assert failed["every split has rows"] == (2, ["valid", "test"])
    assert failed["split is never empty"][0] == 1


def test_recordings(tmp_path: Path) -> None:
    faults = {
        0: {"frames": [[0.0, np.nan]]},
        1: {"frames": []},
        2: {"frames": None},
        3: {"label": -1},
        4: {"label": None},
        5: {"label": 4},
        7: {"frames": [[6.0, 1.0], [2.0, 3.0]]},
    }
    bounds = {"max_length": 1, "max_duplicates": 0.0}
    failed = _failed(tmp_path, "recordings", _table("recordings", faults), expectations=bounds)
    assert failed == {
        "no recording is empty": (2, ["row 1 (class 1)", "row 2 (class 2)"]),
        "no recording has more than 1 frames": (
            9,
            [f"row {row} (class {label}): 2 frames" for row, label in ((3, -1), (4, None), (5, 4))],
        ),
        "at most 0 % of the rows repeat an earlier one": (1, ["row 7 (class 1) is row 6"]),
        "label is never empty": (1, ["row 4 (class None)"]),
        "labels count from 0": (1, ["row 3 (class -1): -1"]),
        "every label has rows": (1, ["3"]),
        "frames are finite": (1, ["row 0 (class 0)"]),
    }


def test_label_far_off_makes_no_frame_of_millions(tmp_path: Path) -> None:
    table = _table("recordings", {0: {"label": 10**12}})
    section = TypeAdapter(DATASET).validate_python(
        {"domain": "recordings", "sources": ({"kind": "path", "path": "unused"},)}
    )
    frames, _ = row_expectations.expectations(table, "own", section)
    assert len(frames["labels"]) == COUNT + 1


def test_melodies(tmp_path: Path) -> None:
    beginning = "mode:major meter:6/8"
    faults = {
        0: {"notes": f"{beginning} r_12 |"},
        1: {"notes": f"{beginning} 0_12 1_0 |"},
        2: {"notes": f"{beginning} 0_12 || 2_12"},
        3: {"notes": "0_12 2_12"},
        4: {"notes": "mode:minor meter:6/8 0_12"},
        5: {"mode": "blues", "notes": "mode:blues meter:6/8 0_12"},
        6: {"key": None},
    }
    assert _failed(tmp_path, _table("melodies", faults)) == {
        "no tune is empty": (1, ["row 0 (a.abc, A)"]),
        "key is never empty": (1, ["row 6 (a.abc, A)"]),
        "mode is a known one": (1, ["row 5 (a.abc, A): blues"]),
        "notes are mode and meter, then notes, rests and bar lines": (
            4,
            ["row 1 (a.abc, A): 1_0", "row 2 (a.abc, A): ||", "row 3 (a.abc, A): begins with '0_12 2_12'"],
        ),
    }


def test_tagged_sentences(tmp_path: Path) -> None:
    faults = {
        0: {"tags": ["B-ORG", "O"]},
        1: {"tags": ["O", "I-ORG", "O"]},
        2: {"tags": ["B-ORG", "B-LOC", "O"]},
        3: {"tags": ["B-ORG", "ORG", "O"]},
        4: {"tokens": [], "tags": []},
        5: {"tags": None},
    }
    failed = _failed(tmp_path, "tagged", _table("tagged", faults))
    assert failed == {
        "no sentence is empty": (1, ["row 4 ()"]),
        "every token has a tag": (
            2,
            ["row 0 (EU rejects 0): 2 tags of 3 tokens", "row 5 (EU rejects 5): 0 tags of 3 tokens"],
        ),
        "tags follow IOB2": (
            2,
            ["row 1 (EU rejects 1): I-ORG follows O", "row 3 (EU rejects 3): 'ORG' is no tag"],
        ),
        # I-ORG stands in valid, B-LOC in test alone.
        "every tag stands in train": (2, ["B-LOC", "I-ORG"]),
    }


@pytest.mark.parametrize("kind", ["texts", "recordings"])
def test_columns_of_another_type(kind: str, tmp_path: Path) -> None:
    table = _table(kind).drop_columns("split").append_column("votes", pa.array(range(COUNT)))
    what = "columns have the expected names and types"
    assert _failed(tmp_path, kind, table) == {
        what: (2, ["split: found (none), expected string", "votes: found int64, expected (none)"])
    }


@pytest.mark.parametrize("frames", [pa.array(range(COUNT)), pa.array([[1.0]] * COUNT)])
def test_frames_that_are_none(frames: pa.Array, tmp_path: Path) -> None:
    place = SCHEMAS["recordings"].get_field_index("frames")
    table = _table("recordings").set_column(place, "frames", frames)
    (examples,) = [examples for _, examples in _failed(tmp_path, "recordings", table).values()]
    assert examples == [f"frames: found {frames.type}, expected {recordings.schema(1).field('frames').type}"]


def test_a_long_row_is_named_by_its_beginning() -> None:
    rows = row_frames.rows(_table("articles", {0: {"text": "word \n" * 30}}), "articles")
    assert rows["content"][0] == "word word word word word word word word word word word word…"
    assert rows["longest"][0] == 180
