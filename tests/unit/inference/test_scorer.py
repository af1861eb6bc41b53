"""Predictions: what they hold, and that neither form, batch nor thread shows in them."""

import json
import subprocess
import sys
import threading
from datetime import date

import in_process
import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles

from unroll.errors import DataError, ParameterError
from unroll.files import write_json
from unroll.inference.bundle import load_bundle
from unroll.inference.predict import predict
from unroll.inference.reference import Bounds, Expectation, count_numbers
from unroll.inference.scorer import Scorer


@pytest.fixture
def digits(tmp_path):
    return tiny_bundles.digits(tmp_path / "model" / "bundle")


def digit_file(path, pixels, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(tiny_bundles.digits_table(pixels, **columns), path)
    return path


def test_digits_get_prediction_score_and_model_version(tmp_path, digits):
    greys = np.array([0, 30, 224, 100])
    pixels = np.repeat(greys[:, None], 784, axis=1).astype(np.uint8)
    result = in_process.score(digits, digit_file(tmp_path / "d.parquet", pixels, row_id=[4, 3, 2, 1]))
    out = result.output
    assert [(field.name, str(field.type)) for field in out.schema] == [
        ("row_id", "int64"),
        ("prediction", "int64"),
        ("score", "float"),
        ("model_version", "string"),
    ]
    assert out["row_id"].to_pylist() == [4, 3, 2, 1]
    assert out["prediction"].to_pylist() == [0, 1, 9, 4]
    logits = -np.abs(greys[:, None] - 25.0 * np.arange(10))
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    assert out["score"].to_numpy() == pytest.approx((odds / odds.sum(axis=1, keepdims=True)).max(axis=1), rel=1e-6)
    assert set(out["model_version"].to_pylist()) == {result.found["model_version"]} == {load_bundle(digits).version}


def test_the_metadata_has_the_models_provenance(tmp_path, digits):
    provenance = {"git_commit": "abc", "model_sha256": load_bundle(digits).sha256}
    write_json(tmp_path / "model" / "provenance.json", provenance)
    result = in_process.score(digits, digit_file(tmp_path / "d.parquet", tiny_bundles.images(3)))
    metadata = result.metadata
    assert metadata["model_version"] == result.found["model_version"]
    assert metadata["provenance"] == provenance
    assert metadata["data"] == {"data/raw/mnist": "d41d8cd98f00b204e9800998ecf8427e"}
    assert metadata["source"] == "d.parquet"


def price_file(path, days=4):
    # The last day is Friday 2018-08-24.
    dates = [date(2018, 8, 25 - days + i) for i in range(days)]
    columns = {
        "ticker": ["AA"] * days + ["BB"] * days + ["NEW"],
        "date": [*dates, *dates, dates[0]],
        "close": [*np.arange(days) + 1.0, *np.arange(days) + 101.0, 7.0],
        "volume": np.arange(2 * days + 1),
    }
    pq.write_table(pa.table(columns), path)
    return path


def test_prices_get_the_next_business_day_and_a_log_return(tmp_path):
    result = in_process.score(tiny_bundles.every_step(tmp_path / "bundle"), price_file(tmp_path / "p.parquet"))
    assert result.output.drop_columns(["score", "model_version"]).to_pylist() == [
        {
            "row_id": f"{ticker}@2018-08-24",
            "ticker": ticker,
            "last_date": date(2018, 8, 24),
            "date": date(2018, 8, 27),
            "prediction": close + 1,
        }
        for ticker, close in (("AA", 4.0), ("BB", 104.0))
    ]
    assert result.output["score"].to_numpy() == pytest.approx(np.log([5 / 4, 105 / 104]), rel=1e-6)
    assert result.reasons == {"NEW@2018-08-21": "has 1 rows, the model needs 3"}


def test_days_that_are_set_aside_are_quarantined_but_are_no_share_of_what_is_scored(tmp_path):
    days = "".join(f"2018-08-{day},{day}\n" for day in (20, 21, 22, 23))
    (tmp_path / "ACME.csv").write_text(f"Date,Close\n{days}2018-08-24,\n")
    result = in_process.score(tiny_bundles.last_price(tmp_path / "b"), tmp_path / "ACME.csv", max_bad_share=0.1)
    assert result.output["row_id"].to_pylist() == ["ACME@2018-08-23"]
    assert result.reasons == {"line 6": "column close: the cell is empty, expected a number"}
    assert [result.found[f"rows_{name}"] for name in ("in", "scored", "quarantined")] == [2, 1, 1]


def test_several_columns_reach_the_graph_in_the_cards_order(tmp_path):
    model = tiny_bundles.last_price(tmp_path / "bundle", columns=("volume", "close"), kind="log_return")
    out = in_process.score(model, price_file(tmp_path / "p.parquet")).output
    assert out["prediction"].to_pylist() == [4, 104]
    assert out["score"].to_pylist() == [0, 0]


def test_quantiles_get_a_column_each(tmp_path):
    out = in_process.score(tiny_bundles.quantiles(tmp_path / "bundle"), price_file(tmp_path / "p.parquet")).output
    assert out["prediction"].to_numpy() == pytest.approx(np.array([4, 104]) * np.exp(0.01), rel=1e-6)
    for name, value in {"q10": -0.02, "q50": 0.01, "q90": 0.03, "score": 0.01}.items():
        assert out[name].to_numpy() == pytest.approx(np.full(2, value), rel=1e-6)


def negative_price(folder, *last):
    """A graph whose price is the highest of the window with the sign changed, after further nodes."""
    card = tiny_bundles.prices_card("price", [tiny_bundles.tensor("price", "float32", ["batch"])], ["close"], 3)
    nodes = [
        onnx.helper.make_node("ReduceMax", ["inputs", "axes"], ["top"], keepdims=0),
        onnx.helper.make_node("Neg", ["top"], ["below" if last else "price"]),
        *last,
    ]
    return tiny_bundles.write(folder, card, nodes, {"axes": np.array([1, 2])})


def test_a_graph_that_gives_no_number_stops_with_the_row(tmp_path):
    model = negative_price(tmp_path / "bundle", onnx.helper.make_node("Log", ["below"], ["price"]))
    with pytest.raises(DataError, match="gives the prediction nan for row AA@2018-08-24"):
        in_process.score(model, price_file(tmp_path / "p.parquet"))


def test_a_price_that_is_not_positive_has_no_score(tmp_path):
    out = in_process.score(negative_price(tmp_path / "bundle"), price_file(tmp_path / "p.parquet")).output
    assert all(value < 0 for value in out["prediction"].to_pylist())
    assert out["score"].to_pylist() == [None] * out.num_rows


def watched_bundle(folder):
    """Digits with an expectation of their ink and a reference of it and of the predictions."""
    tiny_bundles.digits(folder)
    expectation = Expectation(description="not blank", column="ink", bounds=Bounds(min_value=0, strict_min=True))
    write_json(folder / "expectations.json", [expectation.model_dump()])
    ink = count_numbers(np.array([0.25, 0.5, 1.0]))
    rows = {"ink": ink.model_dump()}
    predictions = {"prediction": {"kind": "category", "counts": {"0": 1}}}
    write_json(folder / "reference.json", {"format": 1, "rows": rows, "predictions": predictions})
    return tiny_bundles.seal(folder)


def test_rows_that_fail_an_expectation_are_quarantined_and_the_others_counted(tmp_path):
    model = watched_bundle(tmp_path / "bundle")
    pixels = np.full((700, 784), 25, np.uint8)
    pixels[1::2] = 0
    pixels[0, :392] = 0
    path = digit_file(tmp_path / "d.parquet", pixels, row_id=np.arange(700))
    result = in_process.score(model, path, batch_rows=8)
    assert result.output["row_id"].to_pylist() == list(range(0, 700, 2))
    assert result.reasons == dict.fromkeys(range(1, 700, 2), "not blank: ink is 0, expected more than 0")
    counts = [result.found[f"rows_{name}"] for name in ("in", "scored", "quarantined")]
    assert counts == [700, 350, 350]
    # Edges just below 0.25, at 0.25, 0.5 and 1; the first image has half of its ink, and is of class 0 or 1.
    assert result.found["counts"]["rows"] == {"ink": [0, 0, 1, 349, 0]}
    assert sum(result.found["counts"]["predictions"]["prediction"].values()) == 350
    with pytest.raises(DataError, match=r"350 of 700 rows cannot be scored, more than the share of 0\.4"):
        in_process.score(model, path, max_bad_share=0.4)


def test_an_error_leaves_no_thread(tmp_path, digits, monkeypatch):
    path = digit_file(tmp_path / "d.parquet", tiny_bundles.images(700))

    def piece(*_):
        raise DataError("no number")

    monkeypatch.setattr(Scorer, "score_piece", piece)
    before = set(threading.enumerate())
    with pytest.raises(DataError, match="no number"):
        in_process.score(digits, path, batch_rows=2)
    assert set(threading.enumerate()) == before


def test_long_rows_go_through_the_graph_alone(tmp_path, monkeypatch):
    model = tiny_bundles.recordings(tmp_path / "bundle")
    frames = [[[1.0, 2.0]] * steps for steps in (1, 1_100_000, 2, 500_000, 600_000)]
    pq.write_table(pa.table({"frames": frames}), tmp_path / "a.parquet")
    asked: list[int] = []
    real = Scorer.outputs
    monkeypatch.setattr(Scorer, "outputs", lambda self, batch: asked.append(len(batch)) or real(self, batch))
    assert in_process.score(model, tmp_path / "a.parquet").found["rows_scored"] == 5
    assert sorted(asked) == [1, 1, 1, 2]


def test_a_folder_is_scored_file_by_file(tmp_path, digits):
    for name, rows in (("b", 2), ("a", 3), (".hidden", 4)):
        digit_file(tmp_path / f"in/{name}.parquet", tiny_bundles.images(rows))
    found = predict(tmp_path / "model", tmp_path / "in", tmp_path / "o")
    assert [(one.output.name, one.rows_scored) for one in found] == [("a.parquet", 3), ("b.parquet", 2)]
    assert {one.model_version for one in found} == {load_bundle(digits).version}


def test_inputs_are_not_overwritten_and_outputs_do_not_collide(tmp_path, digits):
    digit_file(tmp_path / "in/a.parquet", tiny_bundles.images(1))
    with pytest.raises(DataError, match="would replace the input"):
        predict(digits, tmp_path / "in", tmp_path / "in")
    for other in ("a.pq", "a.quarantine.parquet"):
        path = digit_file(tmp_path / "in" / other, tiny_bundles.images(1))
        with pytest.raises(DataError, match="would both be written to"):
            predict(digits, tmp_path / "in", tmp_path / "o")
        path.unlink()


def test_what_cannot_be_predicted_is_named(tmp_path, digits):
    with pytest.raises(DataError, match="nothing does not exist"):
        predict(digits, tmp_path / "nothing", tmp_path / "o")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no files"):
        predict(digits, tmp_path / "empty", tmp_path / "o")
    for name in ("batch_rows", "threads", "memory_mb"):
        with pytest.raises(ParameterError, match=f"{name} is 0"):
            predict(digits, tmp_path / "empty", tmp_path / "o", **{name: 0})


def loaded(code):
    done = subprocess.run(
        [sys.executable, "-c", code + "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(done.stdout.split())


def test_the_process_that_asks_for_predictions_loads_nothing_heavy(tmp_path, digits):
    path = digit_file(tmp_path / "d.parquet", tiny_bundles.images(3))
    found = loaded(
        "from pathlib import Path; from unroll.inference.predict import predict\n"
        f"assert predict(*map(Path, ({str(digits)!r}, {str(path)!r}, {str(tmp_path / 'o')!r})))[0].rows_scored == 3\n"
    )
    assert not found & {"numpy", "pyarrow", "onnxruntime", "pydantic"}
    assert json.loads(pq.read_schema(tmp_path / "o/d.parquet").metadata[b"unroll"])["rows"] == 3
