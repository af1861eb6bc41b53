"""What travels with a bundle: parsed strictly, and only where the bundle vouches for it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tiny_bundles

from unroll.errors import BundleError
from unroll.inference.bundle import load_bundle
from unroll.inference.reference import Bounds, cells, count_categories, count_numbers

REFERENCE = {
    "format": 1,
    "rows": {"ink": {"kind": "number", "edges": [0.1, 0.5], "counts": [0, 4, 0]}},
    "answers": {"prediction": {"kind": "category", "counts": {"0": 3, "1": 1}}},
}
EXPECTATION = {
    "what": "the image is not blank",
    "column": "ink",
    "kind": "ExpectColumnValuesToBeBetween",
    "options": {"min_value": 0, "strict_min": True},
}


def bundle_with(folder: Path, **contents: Any) -> Path:
    tiny_bundles.digits(folder)
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return tiny_bundles.seal(folder)


def test_a_bundle_need_not_have_them(tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundles.digits(tmp_path / "b"))
    assert bundle.reference is None
    assert bundle.expectations == ()


def test_a_bundle_gives_what_it_has(tmp_path: Path) -> None:
    bundle = load_bundle(bundle_with(tmp_path / "b", reference=REFERENCE, expectations=[EXPECTATION]))
    assert bundle.reference is not None
    assert bundle.reference.rows["ink"].counts == (0, 4, 0)
    assert bundle.reference.answers["prediction"].counts == {"0": 3, "1": 1}
    (one,) = bundle.expectations
    assert (one.column, one.options.min_value, one.options.strict_min) == ("ink", 0, True)


def test_a_file_that_is_not_vouched_for_is_not_read(tmp_path: Path) -> None:
    folder = tiny_bundles.digits(tmp_path / "b")
    (folder / "expectations.json").write_text(json.dumps([EXPECTATION]))
    assert load_bundle(folder).expectations == ()


def test_an_altered_file_is_refused(tmp_path: Path) -> None:
    folder = bundle_with(tmp_path / "b", reference=REFERENCE)
    (folder / "reference.json").write_text(json.dumps({**REFERENCE, "rows": {}}))
    with pytest.raises(BundleError, match=r"reference\.json was altered"):
        load_bundle(folder)


def changed(**changes: Any) -> dict[str, Any]:
    return {**EXPECTATION, **changes}


@pytest.mark.parametrize(
    ("contents", "told"),
    [
        ({"reference": "{"}, "does not fit"),
        ({"reference": {**REFERENCE, "format": 2}}, "format"),
        ({"reference": {**REFERENCE, "more": 1}}, "more"),
        ({"reference": {**REFERENCE, "rows": {"size": REFERENCE["rows"]["ink"]}}}, "about size"),  # type: ignore[index]
        ({"reference": {**REFERENCE, "rows": {"ink": {"kind": "number", "edges": [1], "counts": [1]}}}}, "counts"),
        (
            {"reference": {**REFERENCE, "rows": {"ink": {"kind": "number", "edges": [2, 1], "counts": [1, 1, 1]}}}},
            "edges must rise",
        ),
        (
            {"reference": {**REFERENCE, "rows": {"ink": {"kind": "number", "edges": [1], "counts": [0, 0]}}}},
            "nothing was counted",
        ),
        ({"expectations": [changed(kind="UnexpectedRowsExpectation")]}, "kind"),
        ({"expectations": [changed(column="size")]}, "about size"),
        ({"expectations": [changed(options={})]}, "need one"),
        ({"expectations": [changed(kind="ExpectColumnValuesToNotBeNull")]}, "need one"),
        ({"expectations": [changed(options={"min_value": "0"})]}, "min_value"),
        ({"expectations": {"ink": 1}}, "does not fit"),
    ],
)
def test_faults_are_told(contents: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=told):
        load_bundle(bundle_with(tmp_path / "b", **contents))


def test_counts_lie_on_a_grid_of_values_that_are_there() -> None:
    column = count_numbers(np.array([1.0, 2, 2, 4, np.nan]))
    assert column is not None
    assert column.edges == (np.nextafter(1, 0), 1, 2, 4)
    assert column.counts == (0, 1, 2, 1, 0)


def test_a_hundred_cells_hold_as_many_values_each() -> None:
    column = count_numbers(np.random.default_rng(0).permutation(5000) / 7)
    assert column is not None
    assert column.counts[0] == column.counts[-1] == 0
    assert sum(column.counts) == 5000
    # The least value has an edge of its own.
    assert set(column.counts[2:-1]) <= {49, 50, 51}


def test_values_beyond_the_range_lie_in_the_outer_cells() -> None:
    column = count_numbers(np.array([1.0, 2, 3]))
    assert column is not None
    found = cells(np.array([-np.inf, 0.5, 1, 3, 3.5, np.inf, np.nan]), np.array(column.edges))
    assert found.tolist() == [2, 1, 0, 1, 2]


@pytest.mark.parametrize("least", [0.0, -0.0, 1e-310, 2.3e-308, -1.0, 1e300])
def test_edges_rise_where_subnormal_numbers_are_flushed(least: float) -> None:
    """As training does, and whatever was compiled with -ffast-math."""
    column = count_numbers(np.array([least, least + 1]))
    assert column is not None
    code = (
        "import torch; torch.set_flush_denormal(True)\n"
        "from unroll.inference.reference import NumberColumn\n"
        f"NumberColumn(edges={column.edges!r}, counts={column.counts!r})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_numbers_make_no_column() -> None:
    assert count_numbers(np.array([np.nan, np.inf])) is None


def test_categories_are_counted_as_text() -> None:
    assert count_categories(pa.array([3, 1, 3, None])) == {"3": 2, "1": 1}
    assert count_categories(pa.array(["low", "high"])) == {"low": 1, "high": 1}


@pytest.mark.parametrize(
    ("bounds", "told"),
    [
        (Bounds(min_value=0, strict_min=True), "more than 0"),
        (Bounds(min_value=0, max_value=1, strict_max=True), "at least 0 and less than 1"),
        (Bounds(max_value=2.5), "at most 2.5"),
        (Bounds(min_value=60, max_value=60), "exactly 60"),
        (Bounds(), ""),
    ],
)
def test_bounds_in_words(bounds: Bounds, told: str) -> None:
    assert bounds.allow() == told
