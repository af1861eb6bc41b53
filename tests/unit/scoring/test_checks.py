"""Rows against expectations, by Great Expectations itself."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles

from unroll.inference.bundle import load_bundle
from unroll.inference.file_scorer import FileScorer
from unroll.inference.profile import with_profile
from unroll.inference.reference import Bounds, Expectation
from unroll.scoring import checks
from unroll.scoring.checks import checks_of, failing

INK = Expectation(
    what="the image is not blank",
    column="ink",
    kind="ExpectColumnValuesToBeBetween",
    options=Bounds(min_value=0, max_value=0.9, strict_min=True),
)
THERE = Expectation(what="the mean is a number", column="mean", kind="ExpectColumnValuesToNotBeNull")
MEAN = Expectation(
    what="the paper is light",
    column="mean",
    kind="ExpectColumnValuesToBeBetween",
    options=Bounds(max_value=200),
)
ALL = (INK, THERE, MEAN)


def rows(count: int) -> dict[str, np.ndarray]:
    return {"mean": np.full(count, 30.0), "ink": np.full(count, 0.2)}


def test_good_rows_pass() -> None:
    assert failing(rows(5), ALL) == {}
    assert failing(rows(0), ALL) == {}


def test_reasons_say_what_was_found_and_what_is_allowed() -> None:
    some = rows(6)
    some["ink"][1], some["ink"][4] = 0, 0.95
    some["mean"][3], some["mean"][4] = np.nan, np.inf
    assert failing(some, ALL) == {
        1: "the image is not blank: ink is 0, expected more than 0 and at most 0.9",
        3: "the mean is a number: mean is nan, expected a number",
        4: "the image is not blank: ink is 0.95, expected more than 0 and at most 0.9; "
        "the paper is light: mean is inf, expected at most 200",
    }


def test_a_bound_itself_is_allowed_unless_strict() -> None:
    some = rows(2)
    some["ink"][0], some["mean"][1] = 0.9, 200
    assert failing(some, ALL) == {}


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    some = rows(10)
    some["ink"][[0, 3, 4, 9]] = 0
    whole = failing(some, ALL)
    monkeypatch.setattr(checks, "CHUNK", 4)
    assert failing(some, ALL) == whole
    assert list(whole) == [0, 3, 4, 9]


def test_all_rows_may_fail() -> None:
    some = rows(70_000)
    some["ink"][:] = 0
    assert len(failing(some, (INK,))) == 70_000


def test_a_bundle_without_expectations_has_nothing_to_check(tmp_path: Path) -> None:
    assert checks_of(load_bundle(tiny_bundles.digits(tmp_path / "b"))) is None


def checked_bundle(folder: Path) -> Path:
    tiny_bundles.digits(folder)
    (folder / "expectations.json").write_text(json.dumps([INK.model_dump(exclude_defaults=True)]))
    return tiny_bundles.seal(folder)


def test_the_scorer_sets_aside_what_fails(tmp_path: Path) -> None:
    bundle = load_bundle(checked_bundle(tmp_path / "b"))
    pixels = tiny_bundles.images(600)
    pixels[:, ::4] = 0
    pixels[:, 1] = 9
    pixels[[3, 599]] = 0
    pq.write_table(tiny_bundles.digits_table(pixels, row_id=np.arange(600) * 10), tmp_path / "d.parquet")
    scorer = FileScorer(bundle, 2, 64, check=checks_of(bundle))
    aside = tmp_path / "q.parquet"
    done = scorer.score_file(tmp_path / "d.parquet", tmp_path / "p.parquet", quarantine=aside, note={})
    assert done.rows == 598
    found = pq.read_table(aside).to_pylist()
    assert [row["row_id"] for row in found] == [30, 5990]
    assert found[0]["reason"] == "the image is not blank: ink is 0, expected more than 0 and at most 0.9"
    kept = pq.read_table(tmp_path / "p.parquet")["row_id"].to_pylist()
    assert kept == [10 * row for row in range(600) if row not in (3, 599)]


def test_a_column_that_the_rows_lack_is_a_fault_of_ours() -> None:
    with pytest.raises(RuntimeError, match="the image is not blank"):
        failing({"mean": np.zeros(3)}, (INK,))


def test_places_are_those_of_the_batch(tmp_path: Path) -> None:
    bundle = load_bundle(checked_bundle(tmp_path / "b"))
    check = checks_of(bundle)
    assert check is not None
    pixels = np.zeros((5, 784), np.uint8)
    pixels[[0, 1, 3], :9] = 200
    inputs = pa.FixedSizeListArray.from_arrays(pa.array(pixels.reshape(-1)), 784)
    batch = with_profile(pa.record_batch({"row_id": pa.array(range(5)), "inputs": inputs}), bundle.card)
    assert list(check(batch)) == [2, 4]
    assert list(check(batch.slice(2))) == [0, 2]
