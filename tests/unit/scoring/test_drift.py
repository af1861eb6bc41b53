"""PSI and KS by hand and beside scipy; what a watched run reports; the page."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tiny_bundles

from unroll.inference.bundle import load_bundle
from unroll.inference.profile import prediction_profile, profile
from unroll.inference.reference import ReferenceCounter, cells, count_numbers
from unroll.inference.scorer import Scorer
from unroll.scoring.drift import ColumnDrift, DriftMonitor, DriftReport, Part, ks, parts_of, psi
from unroll.scoring.drift_page import page, write_page


def test_psi_and_ks_by_hand():
    # (50.5, 50.5) / 101 against (20.5, 80.5) / 101
    by_hand = (20.5 - 50.5) / 101 * np.log(20.5 / 50.5) + (80.5 - 50.5) / 101 * np.log(80.5 / 50.5)
    assert psi(np.array([50, 50]), np.array([20, 80])) == pytest.approx(by_hand)
    # A part that was empty in training
    assert 1 < psi(np.array([1000, 0]), np.array([500, 500])) < 10
    # Distribution functions 0.25, 0.5, 1 and 0, 0.1, 1.
    assert ks(np.array([1, 1, 2]), np.array([0, 1, 9])) == pytest.approx(0.4)
    assert ks(np.array([5, 5]), np.array([10, 0])) == pytest.approx(0.5)


@pytest.mark.parametrize("shift", [0, 0.2, 1, 5])
def test_ks_is_scipys_but_for_a_cell(shift):
    from scipy.stats import ks_2samp

    random = np.random.default_rng(0)
    training, now = random.normal(size=5000), random.normal(shift, 1.3, size=700)
    column = count_numbers(training)
    found = ks(np.array(column.counts), cells(now, np.array(column.edges)))
    exact = ks_2samp(training, now).statistic
    assert exact - 0.01 <= found <= exact + 1e-12


def test_psi_of_deciles_is_that_of_plain_deciles():
    random = np.random.default_rng(1)
    training, now = random.normal(size=100_000), random.normal(0.5, 1, size=20_000)
    column = count_numbers(training)
    places, counts = parts_of(np.array(column.counts)), cells(now, np.array(column.edges))
    sums = [np.bincount(places, one, 10) for one in (column.counts, counts)]
    edges = np.quantile(training, np.linspace(0, 1, 11))
    edges[0], edges[-1] = -np.inf, np.inf
    shares = [np.histogram(one, edges)[0] / len(one) for one in (training, now)]
    plain = ((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum()
    assert psi(*sums) == pytest.approx(plain, abs=0.005)


def bundle_of(folder, pixels):
    bundle = load_bundle(tiny_bundles.digits(folder))
    reference: dict[str, Any] = {"format": 1, "rows": {}, "predictions": {}}
    means = count_numbers(pixels.mean(1))
    reference["rows"]["mean"] = means.model_dump()
    predictions = Scorer(bundle).score(batch_of(pixels))
    counts = {str(label): predictions["prediction"].to_pylist().count(label) for label in range(10)}
    reference["predictions"]["prediction"] = {"kind": "category", "counts": counts}
    (folder / "reference.json").write_text(json.dumps(reference))
    return load_bundle(tiny_bundles.seal(folder))


def batch_of(pixels):
    inputs = pa.FixedSizeListArray.from_arrays(pa.array(pixels.reshape(-1)), 784)
    return pa.record_batch({"row_id": pa.array(np.arange(len(pixels))), "inputs": inputs})


def watched(bundle, pixels, min_rows=200, size=100):
    monitor, scorer = DriftMonitor(bundle), Scorer(bundle)
    for start in range(0, len(pixels), size):
        batch = batch_of(pixels[start : start + size])
        counter = ReferenceCounter(bundle.reference)
        counter.add("rows", profile(batch, bundle.card))
        counter.add("predictions", prediction_profile(scorer.score(batch), bundle.card))
        monitor.add(len(batch), counter.counts())
    return monitor.report(psi_limit=0.25, ks_limit=0.2, min_rows=min_rows)


@pytest.fixture(scope="module")
def training():
    return tiny_bundles.images(2000, seed=1)


@pytest.fixture(scope="module")
def bundle(training, tmp_path_factory):
    return bundle_of(tmp_path_factory.mktemp("bundle") / "b", training)


def test_rows_like_those_of_training_do_not_drift(bundle):
    report = watched(bundle, tiny_bundles.images(500, seed=2))
    assert not report.drifted
    assert report.verdict() == "no drift: 2 columns of 500 rows are within their limits"
    assert [(one.side, one.name, one.values) for one in report.columns] == [
        ("rows", "mean", 500),
        ("predictions", "prediction", 500),
    ]


def test_darker_images_drift(bundle):
    report = watched(bundle, np.minimum(tiny_bundles.images(500, seed=2), 60))
    mean, prediction = report.columns
    assert mean.exceeded == ("psi", "ks")
    assert prediction.exceeded == ("psi",)
    assert prediction.ks is None
    assert report.drifted == (mean, prediction)
    assert report.verdict().startswith(f"drift in mean (PSI {mean.psi:.2f}, KS {mean.ks:.2f}), prediction (PSI")
    assert report.metrics()["drift.exceeded"] == 2
    assert report.metrics()["drift.mean.ks"] == mean.ks
    assert report.table()[0]["verdict"].startswith("above the limit")


def test_few_rows_have_no_verdict(bundle):
    report = watched(bundle, np.zeros((199, 784), np.uint8))
    assert not report.drifted
    assert report.columns[0].psi > 1
    assert "199 of at least 200" in report.verdict()
    assert {row["verdict"] for row in report.table()} == {"too few rows"}
    assert watched(bundle, np.zeros((200, 784), np.uint8)).drifted


def test_a_class_that_training_never_had_counts(tmp_path):
    low = np.minimum(tiny_bundles.images(500), 90)
    one = watched(bundle_of(tmp_path / "b", low), np.full((300, 784), 225, np.uint8)).columns[1]
    assert one.exceeded == ("psi",)
    assert [part.now for part in one.parts if part.name == "9"] == [1.0]


def test_no_reference_no_report(tmp_path):
    plain = load_bundle(tiny_bundles.digits(tmp_path / "b"))
    monitor = DriftMonitor(plain)
    monitor.add(3, {})
    assert monitor.report(psi_limit=0.25, ks_limit=0.2, min_rows=1) is None


def test_the_page_stands_alone(bundle, tmp_path):
    report = watched(bundle, np.minimum(tiny_bundles.images(500, seed=2), 60))
    path = write_page(report, tmp_path / "drift")
    text = path.read_text()
    assert "drift in mean (PSI" in text
    assert bundle.version in text
    assert text.count("data:image/png;base64,") == text.count("src=") == 1
    for outside in ("http://", "https://", "href=", "<script", "url("):
        assert outside not in text
    assert path.stat().st_size < 200_000


def test_parts_are_named_by_values_of_training(tmp_path):
    """Not by the edge just below the least of them: half of these images are black, the others white."""
    pixels = np.repeat(np.array([0, 200], np.uint8), 250)[:, None].repeat(784, axis=1)
    report = watched(bundle_of(tmp_path / "b", pixels), np.vstack([pixels, np.full((9, 784), 255, np.uint8)]))
    assert [part.name for part in report.columns[0].parts] == ["0", "0 – 200", "> 200"]
    assert "e-3" not in page(report, "black and white")


def test_names_from_outside_are_written_as_text():
    parts = tuple(Part(f"<b>${number}_{{\u6f22", 0.02, 0.02) for number in range(50))
    column = ColumnDrift("predictions", "<script>$x_{", 300, 0.0, None, (), parts)
    text = page(DriftReport("m@1", 300, 200, 0.25, 0.2, (column,)), "<script>alert(1)</script>")
    assert "<script" not in text
