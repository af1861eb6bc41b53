"""Test rows through a bundle, and bundles that cannot take each other's rows."""

import candidates
import numpy as np
import pytest
import tiny_bundles

from unroll.errors import DataError
from unroll.inference.bundle import load_bundle
from unroll.inference.sample_predictions import sample_predictions
from unroll.promotion import rescoring


def test_losses_of_chosen_errors(tiny, tmp_path):
    """A tenth of the rows shows each digit."""
    bundle = load_bundle(candidates.experiment(tmp_path, "a", wrong=(3, 4)))
    rows = rescoring.test_rows(candidates.samples())
    found = rescoring.judge(sample_predictions(bundle, rows), tiny.task("digits").metrics, rows)
    assert found.losses.tolist() == [float(label in (3, 4)) for label in rows["targets"]]
    assert found.headline == pytest.approx(0.8)


def test_texts_are_written_and_judged(tiny, tmp_path):
    """The echo of a source is another sentence: every row is lost, but each is scored, whatever its length."""
    samples, metrics = tiny.samples("translation"), tiny.task("translation").metrics
    rows = rescoring.test_rows(samples)
    bundle = load_bundle(tiny_bundles.translator(tmp_path / "b"))
    found = rescoring.judge(sample_predictions(bundle, rows), metrics, rows)
    assert found.losses.shape == (len(rows["targets"]),)
    assert np.isfinite(found.losses).all()
    assert 0 < found.headline < 5


def test_only_the_last_folds_rows_are_judged(tiny):
    """The shipped network was trained on the test rows of the folds before."""
    samples = tiny.samples("return_quantiles")
    assert len(samples.folds) > 1
    assert len(rescoring.test_rows(samples)["targets"]) == len(samples.folds[-1].test)


class TestDifferences:
    @pytest.fixture
    def new(self, tmp_path):
        return load_bundle(tiny_bundles.digits(tmp_path / "new"))

    def test_none(self, new, tmp_path):
        other = load_bundle(candidates.experiment(tmp_path, "a", wrong=(1,)))
        assert rescoring.differences(other, new) == ""

    @pytest.mark.parametrize(
        ("changes", "name"), [({"columns": ("open", "close")}, "prices.columns"), ({"window": 4}, "prices.window")]
    )
    def test_other_columns_or_windows(self, tmp_path, changes, name):
        one = load_bundle(tiny_bundles.last_price(tmp_path / "one", columns=("close",)))
        two = load_bundle(tiny_bundles.last_price(tmp_path / "two", **({"columns": ("close",)} | changes)))
        assert f"its {name}: " in rescoring.differences(one, two)

    def test_another_vocabulary(self, tmp_path):
        one = load_bundle(tiny_bundles.classifier(tmp_path / "one"))
        two = tiny_bundles.classifier(tmp_path / "two")
        (two / tiny_bundles.BOOK).write_text(tiny_bundles.book(words=("x", "y")).to_json())
        assert "vocabulary" in rescoring.differences(one, load_bundle(tiny_bundles.seal(two)))


class TestSavedResults:
    """Of models that write, whose graphs give no likelihood of a given text."""

    def test_there_and_back(self, tmp_path):
        rows = rescoring.test_rows(candidates.samples())
        rescoring.save_result(tmp_path / "l.json", rescoring.Result(np.arange(3.0), 2.5), rows)
        found = rescoring.load_result(tmp_path / "l.json", rows)
        assert (found.losses.tolist(), found.headline) == ([0, 1, 2], 2.5)

    def test_of_other_rows(self, tmp_path):
        result, rows = rescoring.Result(np.arange(3.0), 2.5), rescoring.test_rows(candidates.samples())
        rescoring.save_result(tmp_path / "l.json", result, rows)
        assert rescoring.load_result(tmp_path / "l.json", rescoring.test_rows(candidates.samples(90))) is None
        assert rescoring.load_result(tmp_path / "none.json", candidates.samples().tensors) is None

    def test_from_the_table_of_predictions(self, tiny, tmp_path):
        import pyarrow as pa
        import pyarrow.parquet as pq

        metrics, rows = tiny.task("language_model").metrics, rescoring.test_rows(tiny.samples("language_model"))
        logits = np.random.default_rng(0).normal(-2, 0.1, rows["targets"].shape).astype(np.float32)
        pq.write_table(pa.table({"prediction": list(logits)}), tmp_path / "p.parquet")
        found = rescoring.evaluated(tmp_path / "p.parquet", metrics, rows)
        assert found.losses == pytest.approx(metrics.per_sample_loss(logits, rows))
        assert found.headline == pytest.approx(np.exp(-logits[rows["targets"] >= 0].mean()), rel=1e-3)
        assert not rescoring.gives_losses(load_bundle(tiny_bundles.writer(tmp_path / "w")).card)
        pq.write_table(pa.table({"prediction": list(logits[:1])}), tmp_path / "p.parquet")
        with pytest.raises(DataError, match="unroll evaluate"):
            rescoring.evaluated(tmp_path / "p.parquet", metrics, rows)
