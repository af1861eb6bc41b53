"""The back-test: rows are matched, metrics are those computed by hand, and each row left out is reported."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import tiny_bundles
from inboxes import Inbox

from unroll import cli
from unroll.errors import DataError, FormatError
from unroll.inference.predict import predict
from unroll.inference.writing import METADATA_KEY
from unroll.scoring.backtest import compare_with_truth

VERSION = "tiny@0123456789ab"


def predictions(path, kind, source="in.parquet", metrics=None, version=VERSION, **columns):
    """Write a file as `unroll predict` does."""
    table = pa.table({"model_version": [version] * len(columns["row_id"]), **columns})
    about = {"task": tiny_bundles.task(kind), "source": source, "metrics": metrics or {}}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(about)}), path)
    return path


def truth(path, **columns):
    write = pa_csv.write_csv if path.suffix == ".csv" else pq.write_table
    write(pa.table(columns), path)
    return path


@pytest.fixture
def compare(tmp_path):
    """`compare(kind, truth columns, **columns)`: the report for predictions in one file."""

    def compare(kind, true, metrics=None, **columns):
        path = predictions(tmp_path / "p.parquet", kind, metrics=metrics, **columns)
        return compare_with_truth(path, truth(tmp_path / "t.parquet", **true))

    return compare


def figures(report):
    (one,) = report.live
    return dict(one.figures)


def unmatched(report):
    return list(map(str, report.unmatched))


def test_accuracy_beside_that_of_the_test_split(compare):
    metrics = {"metric": "accuracy", "test": 0.9, "baseline": {"majority": 0.25}}
    true = {"row_id": [4, 3, 2, 1], "truth": [0, 1, 3, 7]}
    report = compare("digits", true, metrics=metrics, row_id=[1, 2, 3, 4], prediction=[7, 7, 1, 0])
    # Classes 0 and 1 are right; 7 has one hit and one false alarm, 3 one miss.
    macro_f1 = pytest.approx((1 + 1 + 2 / 3 + 0) / 4)
    assert report.live[0].metrics() == {
        "live.accuracy": 0.75, "live.macro_f1": macro_f1, "live.rows": 4, "test.accuracy": 0.9
    }  # fmt: skip
    assert report.lines()[:2] == [
        f"{VERSION}: 4 rows with truth",
        "  accuracy 0.75; on the test split 0.9 (baselines: majority 0.25)",
    ]
    assert unmatched(report) == []


def test_rows_that_are_not_compared_are_reported(compare):
    true = {"row_id": [1, 2, 3, 3, 5, 8, 9], "truth": [0.0, 0.0, 0.0, 0.0, None, 0.0, 0.0]}
    report = compare("digits", true, row_id=[1, 2, 2, 3, 4, 5], prediction=[0, 0, 0, 0, 0, 0])
    # Integers that came as floats are integers.
    assert (figures(report)["rows"], figures(report)["accuracy"]) == (1, 1)
    assert unmatched(report) == [
        "1 rows of the truth without a value: 5",
        "2 predictions whose id occurs more than once: 2, 2",
        "2 rows of the truth whose id occurs more than once: 3, 3",
        "2 predictions without a truth: 4, 5",
        "2 rows of the truth without a prediction: 8, 9",
    ]


def test_ids_are_compared_as_they_are_written(tmp_path):
    path = predictions(tmp_path / "p.parquet", "digits", row_id=["007", "8"], prediction=[1, 1])
    (tmp_path / "t.csv").write_text("row_id,truth\n7,1\n8,1\n")
    report = compare_with_truth(path, tmp_path / "t.csv")
    assert figures(report)["rows"] == 1
    assert unmatched(report) == ["1 predictions without a truth: 007", "1 rows of the truth without a prediction: 7"]


def test_rows_of_several_inputs_are_matched_by_file(tmp_path):
    folder = tmp_path / "predictions"
    for name, label in (("a", 1), ("b", 2)):
        predictions(folder / f"{name}.csv.parquet", "digits", f"{name}.csv", row_id=[0, 1], prediction=[label] * 2)
    columns = {"row_id": [0, 1, 0, 1], "file": ["a.csv", "a.csv", "b.csv", "b.csv"], "label": [1, 1, 2, 0]}
    report = compare_with_truth(folder, truth(tmp_path / "t.csv", **columns))
    assert (figures(report)["accuracy"], unmatched(report)) == (0.75, [])
    # Without the file, an id is ambiguous.
    with pytest.raises(DataError, match="4 predictions whose id occurs more than once: 0, 1, 0"):
        compare_with_truth(folder, truth(tmp_path / "u.csv", row_id=[0, 1], label=[1, 1]))


def test_a_shadow_is_compared_on_the_rows_of_both(tmp_path):
    metrics = {"metric": "accuracy", "test": 0.9}
    for folder, source, version, ids, labels in (
        ("p", "one.csv", "old@1", [1, 2, 3], [7, 7, 1]),
        # The challenger has become champion, and has scored this file in both folders.
        ("p", "two.csv", "new@2", [4], [5]),
        ("s", "two.csv", "new@2", [4], [5]),
        ("s", "one.csv", "new@2", [2, 3], [7, 0]),
    ):
        path = tmp_path / folder / f"{source}.parquet"
        predictions(path, "digits", source, metrics, version, row_id=ids, prediction=labels)
    true = truth(tmp_path / "t.csv", row_id=[1, 2, 3, 4], truth=[7, 7, 0, 5])
    report = compare_with_truth(tmp_path / "p", true, shadow=tmp_path / "s")
    found = {one.version: (one.figures["rows"], one.figures["accuracy"]) for one in report.live}
    assert found == {"new@2": (3, 1), "old@1": (3, pytest.approx(2 / 3))}
    assert report.lines()[-1] == "new@2 and old@1 on the 2 rows of both: accuracy 1 and 0.5"
    assert unmatched(report) == []


LAST = np.array([100.0, 50.0])
QUANTILES = np.array([[-0.03, 0.01, 0.04], [-0.03, 0.0, 0.03]])
RETURNS = np.array([0.02, -0.05])
PINBALL = np.mean([[0.1 * 0.05, 0.5 * 0.01, 0.1 * 0.02], [0.9 * 0.02, 0.5 * 0.05, 0.1 * 0.08]])
TEXTS = ["je suis là .", "il fait très beau aujourd'hui ."]


@pytest.mark.parametrize(
    ("kind", "columns", "true", "expected"),
    [
        (
            "price",
            {"prediction": [103.0, 49.0], "score": np.log(np.array([103.0, 49.0]) / LAST)},
            [101.0, 49.5],
            {"rmse": np.sqrt(4.25 / 2), "mae": 1.25, "ratio_to_persistence": np.sqrt(4.25 / 1.25)},
        ),
        (
            "return_quantiles",
            {
                "prediction": LAST * np.exp(QUANTILES[:, 1]),
                "score": QUANTILES[:, 1],
                **{name: QUANTILES[:, rank] for rank, name in enumerate(("q10", "q50", "q90"))},
            },
            LAST * np.exp(RETURNS),
            {"pinball": PINBALL, "coverage_80": 0.5},
        ),
        ("strip_columns", {"prediction": [["1", "between"], ["3"]]}, ["1 1", "3"], {"frame_accuracy": 2 / 3}),
        ("strip_captions", {"prediction": ["one two", "three"]}, ["one  two", "four"], {"exact_match": 0.5}),
        (
            "tags",
            {"prediction": [["B-PER", "I-PER", "O"], ["B-LOC", "O"]]},
            [["B-PER", "I-PER", "O"], ["B-LOC", "I-LOC"]],
            {"entity_f1": 0.5, "token_accuracy": 0.8},
        ),
        ("translation", {"prediction": TEXTS}, TEXTS, {"bleu": 100, "chrf": 100}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_metrics_of_each_domain(compare, kind, columns, true, expected):
    found = figures(compare(kind, {"row_id": [1, 2], "truth": true}, row_id=[1, 2], **columns))
    assert {name: found[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("kind", "prediction", "true", "part"),
    [
        ("tags", [["O", "O"]], ["O O O"], "row_id 1"),
        ("language_model", ["a b"], ["a b"], "language_model"),
        ("price", [2.0], ["much"], "row_id 1: .*'much'"),
        ("price", [2.0], ["inf"], "row_id 1: .*'inf'"),
    ],
)
def test_values_that_cannot_be_compared(compare, kind, prediction, true, part):
    with pytest.raises(DataError, match=part):
        compare(kind, {"row_id": [1], "truth": true}, row_id=[1], prediction=prediction, score=[0.0])


def test_the_column_of_the_truth(tmp_path):
    path = predictions(tmp_path / "p.parquet", "digits", row_id=[1], prediction=[5])
    true = truth(tmp_path / "t.parquet", row_id=[1], label=[5], other=[4])
    with pytest.raises(DataError, match="label, other"):
        compare_with_truth(path, true)
    assert figures(compare_with_truth(path, true, column="label"))["accuracy"] == 1
    with pytest.raises(DataError, match="'size'"):
        compare_with_truth(path, true, column="size")


def test_files_that_cannot_be_compared(tmp_path):
    path = predictions(tmp_path / "p.parquet", "digits", row_id=[1], prediction=[5])
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing")
    (tmp_path / "empty").mkdir()
    no_ids = truth(tmp_path / "t.csv", id=[1], truth=[5])
    for other in (tmp_path / "none.parquet", tmp_path / "empty", no_ids):
        with pytest.raises(DataError, match=other.name):
            compare_with_truth(path, other)
    with pytest.raises(FormatError, match=r"bad\.parquet"):
        compare_with_truth(path, tmp_path / "bad.parquet")
    with pytest.raises(DataError, match="'prediction'"):
        compare_with_truth(truth(tmp_path / "u.parquet", row_id=[1], truth=[5]), path)


def test_the_folders_of_a_job_and_of_predict_are_read(tmp_path):
    """Their markers and quarantined rows are not predictions."""
    tiny_bundles.digits(tmp_path / "bundle")
    inbox = Inbox(tmp_path)
    inbox.put("a.parquet", 3, bad=(1,))
    inbox.score()
    truth(inbox.root / "predictions/a.quarantine.parquet", row_id=[1], reason=["blank"])
    rows = inbox.table("predictions", "a.parquet.parquet")
    true = truth(inbox.root / "t.parquet", file=["a.parquet"] * 2, row_id=[0, 2], truth=rows["prediction"])
    report = compare_with_truth(inbox.root / "predictions", true)
    assert (figures(report)["rows"], figures(report)["accuracy"], unmatched(report)) == (2, 1, [])


def test_predictions_of_unroll_predict_are_compared_and_logged(here, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here}/mlflow.db")
    tiny_bundles.digits(tmp_path / "model" / "bundle")
    grays = np.array([0, 50, 200, 100])
    pixels = np.repeat(grays[:, None], 784, axis=1).astype(np.uint8)
    pq.write_table(tiny_bundles.digits_table(pixels, row_id=[10, 11, 12, 13]), tmp_path / "d.parquet")
    predict(tmp_path / "model", tmp_path / "d.parquet", tmp_path / "p")
    true = truth(tmp_path / "t.csv", row_id=[10, 11, 12, 99], truth=[0, 2, 1, 1])
    assert cli.main(["backtest", str(tmp_path / "p"), str(true)]) == 0
    printed = capsys.readouterr().out
    assert "accuracy 0.666667" in printed
    assert "1 predictions without a truth: 13" in printed
    assert "1 rows of the truth without a prediction: 99" in printed

    import mlflow

    (run,) = mlflow.search_runs(experiment_names=["live"], output_format="list")
    assert run.data.metrics["live.accuracy"] == pytest.approx(2 / 3)
    assert run.data.tags["unroll.model_version"].startswith("tiny-digits@")
    assert run.data.tags["unroll.live"] == "backtest"
    assert run.info.status == "FINISHED"
