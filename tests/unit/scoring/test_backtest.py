"""The back-test: joined rows, figures by hand, and no row that is dropped unsaid."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import tiny_bundles
from inboxes import Inbox

from unroll import cli
from unroll.errors import DataError, FormatError
from unroll.inference.bundle import load_bundle
from unroll.inference.predict import predict
from unroll.inference.writing import METADATA_KEY
from unroll.scoring.backtest import BacktestReport, compare_with_truth

VERSION = "tiny@0123456789ab"


def predictions(path: Path, kind: str, source: str = "in.parquet", metrics: Any = None, **columns: Any) -> Path:
    """A file as `unroll predict` writes it."""
    rows = len(columns["row_id"])
    table = pa.table({**columns, "model_version": columns.get("model_version", [VERSION] * rows)})
    about = {"task": tiny_bundles.task(kind), "source": source, "metrics": metrics or {}}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(about)}), path)
    return path


def truth(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        pa_csv.write_csv(pa.table(columns), path)
    else:
        pq.write_table(pa.table(columns), path)
    return path


def figures(report: BacktestReport) -> dict[str, float]:
    (one,) = report.live
    return dict(one.figures)


def left(report: BacktestReport) -> list[str]:
    return list(map(str, report.unmatched))


def test_accuracy_beside_that_of_the_test_split(tmp_path: Path) -> None:
    metrics = {"metric": "accuracy", "test": 0.9, "baseline": {"majority": 0.25}}
    said = predictions(tmp_path / "p.parquet", "digits", metrics=metrics, row_id=[1, 2, 3, 4], prediction=[7, 7, 1, 0])
    true = truth(tmp_path / "t.parquet", row_id=[4, 3, 2, 1], truth=[0, 1, 3, 7])
    report = compare_with_truth(said, true)
    assert figures(report)["accuracy"] == 0.75
    # Classes 0 and 1 are right; 7 has one hit and one false alarm, 3 one miss.
    assert figures(report)["macro_f1"] == pytest.approx((1 + 1 + 2 / 3 + 0) / 4)
    assert report.lines()[:2] == [
        f"{VERSION}: 4 rows with truth",
        "  accuracy 0.75; on the test split 0.9 (baselines: majority 0.25)",
    ]
    assert report.live[0].metrics() == {
        "live.accuracy": 0.75,
        "live.macro_f1": pytest.approx(2 / 3),
        "live.rows": 4,
        "test.accuracy": 0.9,
    }
    assert left(report) == []


def test_nothing_is_dropped_unsaid(tmp_path: Path) -> None:
    said = predictions(tmp_path / "p.parquet", "digits", row_id=[1, 2, 2, 3, 4, 5], prediction=[0, 0, 0, 0, 0, 0])
    true = truth(tmp_path / "t.parquet", row_id=[1, 2, 3, 3, 5, 8, 9], truth=[0, 0, 0, 0, None, 0, 0])
    report = compare_with_truth(said, true)
    assert figures(report)["rows"] == 1
    assert left(report) == [
        "1 rows of the truth without a value: 5",
        "2 predictions whose id occurs more than once: 2, 2",
        "2 rows of the truth whose id occurs more than once: 3, 3",
        "2 predictions without a truth: 4, 5",
        "2 rows of the truth without a prediction: 8, 9",
    ]


def test_ids_are_compared_as_they_are_written(tmp_path: Path) -> None:
    said = predictions(tmp_path / "p.parquet", "digits", row_id=["007", "8"], prediction=[1, 1])
    (tmp_path / "t.csv").write_text("row_id,truth\n7,1\n8,1\n")
    report = compare_with_truth(said, tmp_path / "t.csv")
    assert figures(report)["rows"] == 1
    assert left(report) == ["1 predictions without a truth: 007", "1 rows of the truth without a prediction: 7"]


def test_whole_numbers_that_came_as_floats(tmp_path: Path) -> None:
    said = predictions(tmp_path / "p.parquet", "digits", row_id=[1, 2], prediction=[7, 8])
    true = truth(tmp_path / "t.parquet", row_id=[1, 2, 3], truth=[7.0, 8.0, None])
    assert figures(compare_with_truth(said, true))["accuracy"] == 1


def test_rows_of_several_inputs_are_told_apart_by_file(tmp_path: Path) -> None:
    folder = tmp_path / "predictions"
    for name, prediction in (("a", 1), ("b", 2)):
        predictions(folder / f"{name}.csv.parquet", "digits", f"{name}.csv", row_id=[0, 1], prediction=[prediction] * 2)
    columns = {"row_id": [0, 1, 0, 1], "file": ["a.csv", "a.csv", "b.csv", "b.csv"], "label": [1, 1, 2, 0]}
    report = compare_with_truth(tmp_path / "predictions", truth(tmp_path / "t.csv", **columns))
    assert figures(report)["accuracy"] == 0.75
    assert left(report) == []
    # Without the file, an id stands for two rows.
    with pytest.raises(DataError, match="4 predictions whose id occurs more than once: 0, 1, 0"):
        compare_with_truth(tmp_path / "predictions", truth(tmp_path / "u.csv", row_id=[0, 1], label=[1, 1]))


def test_each_version_has_its_own_figures(tmp_path: Path) -> None:
    versions = ["a@1", "b@2", "a@1", "b@2"]
    said = predictions(
        tmp_path / "p.parquet", "digits", row_id=[1, 1, 2, 2], prediction=[0, 5, 0, 0], model_version=versions
    )
    report = compare_with_truth(said, truth(tmp_path / "t.parquet", row_id=[1, 2], truth=[0, 0]))
    assert {one.version: one.figures["accuracy"] for one in report.live} == {"a@1": 1.0, "b@2": 0.5}


def test_prices(tmp_path: Path) -> None:
    last, said, true = np.array([100.0, 50.0]), np.array([103.0, 49.0]), np.array([101.0, 49.5])
    scores = np.log(said / last)
    path = predictions(tmp_path / "p.parquet", "price", row_id=["A@1", "B@1"], prediction=said, score=scores)
    found = figures(compare_with_truth(path, truth(tmp_path / "t.csv", row_id=["A@1", "B@1"], close=true)))
    assert found["rmse"] == pytest.approx(np.sqrt((4 + 0.25) / 2))
    assert found["mae"] == pytest.approx(1.25)
    assert found["ratio_to_persistence"] == pytest.approx(np.sqrt((4 + 0.25) / (1 + 0.25)))


def test_quantiles(tmp_path: Path) -> None:
    levels, returns = np.array([0.1, 0.5, 0.9]), np.array([0.02, -0.05])
    quantiles = np.array([[-0.03, 0.01, 0.04], [-0.03, 0.0, 0.03]])
    last = np.array([10.0, 20.0])
    columns = {f"q{100 * level:g}": quantiles[:, place] for place, level in enumerate(levels)}
    path = predictions(
        tmp_path / "p.parquet",
        "return_quantiles",
        row_id=["A", "B"],
        prediction=last * np.exp(quantiles[:, 1]),
        score=quantiles[:, 1],
        **columns,
    )
    found = figures(
        compare_with_truth(path, truth(tmp_path / "t.parquet", row_id=["A", "B"], truth=last * np.exp(returns)))
    )
    error = returns[:, None] - quantiles
    assert found["pinball"] == pytest.approx(np.maximum(levels * error, (levels - 1) * error).mean())
    assert found["coverage_80"] == 0.5


TEXTS = ["je suis là .", "il fait très beau aujourd'hui ."]


@pytest.mark.parametrize(
    ("kind", "predicted", "true", "expected"),
    [
        ("strip_columns", [["1", "between"], ["3"]], ["1 1", "3"], {"frame_accuracy": 2 / 3}),
        (
            "tags",
            [["B-PER", "I-PER", "O"], ["B-LOC", "O"]],
            [["B-PER", "I-PER", "O"], ["B-LOC", "I-LOC"]],
            {"entity_f1": 0.5, "token_accuracy": 0.8},
        ),
        ("translation", TEXTS, TEXTS, {"bleu": 100, "chrf": 100}),
        ("strip_captions", ["one two", "three"], ["one  two", "four"], {"exact_match": 0.5}),
    ],
    ids=["strip_columns", "tags", "translation", "strip_captions"],
)
def test_labels_and_texts(tmp_path: Path, kind: str, predicted: Any, true: Any, expected: dict[str, float]) -> None:
    path = predictions(tmp_path / "p.parquet", kind, row_id=[1, 2], prediction=predicted)
    found = figures(compare_with_truth(path, truth(tmp_path / "t.parquet", row_id=[1, 2], truth=true)))
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_labels_of_another_number(tmp_path: Path) -> None:
    said = predictions(tmp_path / "p.parquet", "tags", row_id=[1], prediction=[["O", "O"]])
    with pytest.raises(DataError, match="row_id 1"):
        compare_with_truth(said, truth(tmp_path / "t.csv", row_id=[1], truth=["O O O"]))


def test_what_continues_a_prompt_has_no_truth(tmp_path: Path) -> None:
    said = predictions(tmp_path / "p.parquet", "language_model", row_id=[1], prediction=["a b"])
    with pytest.raises(DataError, match="language_model"):
        compare_with_truth(said, truth(tmp_path / "t.parquet", row_id=[1], truth=["a b"]))


@pytest.mark.parametrize("value", ["much", "inf"])
def test_a_price_that_is_no_number(value: str, tmp_path: Path) -> None:
    said = predictions(tmp_path / "p.parquet", "price", row_id=[1, 2], prediction=[1.0, 2.0], score=[0.0, 0.0])
    (tmp_path / "t.csv").write_text(f"row_id,truth\n1,3\n2,{value}\n")
    with pytest.raises(DataError, match=f"row_id 2: .*'{value}'"):
        compare_with_truth(said, tmp_path / "t.csv")


def test_the_column_of_the_truth(tmp_path: Path) -> None:
    said = predictions(tmp_path / "p.parquet", "digits", row_id=[1], prediction=[5])
    true = truth(tmp_path / "t.parquet", row_id=[1], label=[5], other=[4])
    with pytest.raises(DataError, match="label, other"):
        compare_with_truth(said, true)
    assert figures(compare_with_truth(said, true, column="label"))["accuracy"] == 1
    with pytest.raises(DataError, match="'size'"):
        compare_with_truth(said, true, column="size")


def test_files_that_cannot_be_compared(tmp_path: Path) -> None:
    said = predictions(tmp_path / "p.parquet", "digits", row_id=[1], prediction=[5])
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing")
    (tmp_path / "empty").mkdir()
    no_ids = truth(tmp_path / "t.csv", id=[1], truth=[5])
    for other in (tmp_path / "none.parquet", tmp_path / "empty", no_ids):
        with pytest.raises(DataError, match=other.name):
            compare_with_truth(said, other)
    with pytest.raises(FormatError, match=r"bad\.parquet"):
        compare_with_truth(said, tmp_path / "bad.parquet")
    with pytest.raises(DataError, match="'prediction'"):
        compare_with_truth(truth(tmp_path / "u.parquet", row_id=[1], truth=[5]), said)


def test_the_folders_of_a_job_and_of_predict_are_read(tmp_path: Path) -> None:
    """Their markers and quarantined rows are not predictions."""
    tiny_bundles.digits(tmp_path / "bundle")
    inbox = Inbox(tmp_path)
    inbox.put("a.parquet", 3, bad=(1,))
    inbox.score()
    truth(inbox.root / "predictions/a.quarantine.parquet", row_id=[1], reason=["blank"])
    rows = inbox.table("predictions", "a.parquet.parquet")
    true = truth(inbox.root / "t.parquet", file=["a.parquet"] * 2, row_id=[0, 2], truth=rows["prediction"])
    report = compare_with_truth(inbox.root / "predictions", true)
    assert (figures(report)["rows"], figures(report)["accuracy"], left(report)) == (2, 1, [])


def test_csv_needs_to_be_told_the_model(tmp_path: Path) -> None:
    card = load_bundle(tiny_bundles.digits(tmp_path / "b")).card
    said = truth(tmp_path / "p.csv", row_id=[1, 2], prediction=[5, 6], model_version=[VERSION] * 2)
    true = truth(tmp_path / "t.csv", row_id=[1, 2], truth=[5, 5])
    with pytest.raises(DataError, match="name it with --model"):
        compare_with_truth(said, true)
    assert figures(compare_with_truth(said, true, card=card))["accuracy"] == 0.5


def test_what_predict_writes_tells_all_that_is_needed(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From images to the figures in MLflow, by the command line."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here}/mlflow.db")
    tiny_bundles.digits(tmp_path / "model" / "bundle")
    greys = np.array([0, 50, 200, 100])
    pixels = np.repeat(greys[:, None], 784, axis=1).astype(np.uint8)
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


def test_an_error_is_one_line(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["backtest", str(tmp_path / "none"), str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("unroll backtest: ")
