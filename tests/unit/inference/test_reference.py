"""Reference and expectations of a bundle: read strictly, and only where the checksums of the bundle include them."""

import json

import numpy as np
import pytest
import tiny_bundles

from unroll.errors import BundleError
from unroll.inference.bundle import load_bundle
from unroll.inference.reference import Bounds, Expectation, cells, count_numbers, failures

INK = {"kind": "number", "edges": [0.1, 0.5], "counts": [0, 4, 0]}
REFERENCE = {
    "format": 1,
    "rows": {"ink": INK},
    "predictions": {"prediction": {"kind": "category", "counts": {"0": 3, "1": 1}}},
}
EXPECTATION = {
    "description": "the image is not blank",
    "column": "ink",
    "bounds": {"min_value": 0, "strict_min": True},
}


def bundle_with(folder, **contents):
    tiny_bundles.digits(folder)
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return tiny_bundles.seal(folder)


def test_a_file_without_a_checksum_is_ignored_and_an_altered_one_refused(tmp_path):
    folder = tiny_bundles.digits(tmp_path / "a")
    (folder / "expectations.json").write_text(json.dumps([EXPECTATION]))
    assert load_bundle(folder).expectations == ()
    folder = bundle_with(tmp_path / "b", reference=REFERENCE)
    (folder / "reference.json").write_text(json.dumps({**REFERENCE, "rows": {}}))
    with pytest.raises(BundleError, match=r"reference\.json"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("contents", "key"),
    [
        ({"reference": "{"}, "JSON"),
        ({"reference": {**REFERENCE, "format": 2}}, "format"),
        ({"expectations": [{**EXPECTATION, "kind": "ExpectColumnValuesToBeBetween"}]}, "kind"),
        ({"expectations": [{**EXPECTATION, "bounds": {"min_value": "0"}}]}, "min_value"),
    ],
)
def test_faults_are_named(contents, key, tmp_path):
    with pytest.raises(BundleError, match=rf"{next(iter(contents))}\.json.*{key}"):
        load_bundle(bundle_with(tmp_path / "b", **contents))


def test_the_edges_of_few_values_are_these_values():
    column = count_numbers(np.array([1.0, 2, 2, 4, np.nan]))
    assert column.edges == (np.nextafter(1, 0), 1, 2, 4)
    assert column.counts == (0, 1, 2, 1, 0)
    # Values beyond the range are in the outer cells, NaN in none.
    found = cells(np.array([-np.inf, 0.5, 1, 4, 4.5, np.inf, np.nan]), np.array(column.edges))
    assert found.tolist() == [2, 1, 0, 1, 2]
    assert count_numbers(np.array([np.nan, np.inf])) is None


def test_the_cells_of_many_values_hold_equal_shares():
    column = count_numbers(np.random.default_rng(0).permutation(5000) / 7)
    assert column.counts[0] == column.counts[-1] == 0
    assert sum(column.counts) == 5000
    # The least value has an edge of its own.
    assert set(column.counts[2:-1]) <= {49, 50, 51}


def test_edges_increase_also_where_subnormal_numbers_are_flushed():
    """As in training, and in whatever was compiled with -ffast-math."""
    tiny = np.finfo(np.float64).tiny
    for least in (0.0, -0.0, 1e-310, 2.3e-308, -1.0, 1e300):
        column = count_numbers(np.array([least, least + 1]))
        flushed = np.where(np.abs(column.edges) < tiny, 0.0, column.edges)
        assert (np.diff(flushed) > 0).all()


def test_rows_that_fail_get_every_reason():
    columns = {"mean": np.full(6, 30.0), "ink": np.full(6, 0.2)}
    expectations = (
        Expectation(description="not blank", column="ink", bounds=Bounds(min_value=0, max_value=0.9, strict_min=True)),
        Expectation(description="a mean", column="mean"),
        Expectation(description="light", column="mean", bounds=Bounds(max_value=200)),
    )
    assert failures(columns, expectations) == {}
    assert failures({name: values[:0] for name, values in columns.items()}, expectations) == {}
    columns["ink"][[1, 4, 5]] = 0, 0.95, 0.9
    columns["mean"][[3, 4, 5]] = np.nan, np.inf, 200
    assert failures(columns, expectations) == {
        1: "not blank: ink is 0, expected more than 0 and at most 0.9",
        3: "a mean: mean is nan, expected a number",
        4: "not blank: ink is 0.95, expected more than 0 and at most 0.9; light: mean is inf, expected at most 200",
    }
