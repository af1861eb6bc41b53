"""Predictions: what they say, and that neither form, batch nor thread shows in them."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles

from unroll.domains.digits.reader import SCHEMA
from unroll.errors import DataError, ParameterError, UnrollError
from unroll.files import write_json
from unroll.inference.batches import checked
from unroll.inference.bundle import load_bundle
from unroll.inference.file_scorer import FileScorer, _ahead
from unroll.inference.predict import predict
from unroll.inference.scorer import Scorer
from unroll.inference.writing import METADATA_KEY


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    return tiny_bundles.digits(tmp_path / "model" / "bundle")


def digit_file(path: Path, pixels: np.ndarray, **columns: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(tiny_bundles.digits_table(pixels, **columns), path)
    return path


def test_digits_get_prediction_score_and_model_version(tmp_path: Path, digits: Path) -> None:
    greys = np.array([0, 30, 224, 100])
    pixels = np.repeat(greys[:, None], 784, axis=1).astype(np.uint8)
    summary = predict(
        tmp_path / "model", digit_file(tmp_path / "d.parquet", pixels, row_id=[4, 3, 2, 1]), tmp_path / "o"
    )
    assert summary.rows == 4
    assert [(one.source.name, one.rows, one.rows_in) for one in summary.files] == [("d.parquet", 4, 4)]
    out = pq.read_table(summary.files[0].output)
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
    assert set(out["model_version"].to_pylist()) == {summary.model_version} == {load_bundle(digits).version}


def test_the_output_says_where_it_comes_from(tmp_path: Path, digits: Path) -> None:
    provenance = {"git_commit": "abc", "model_sha256": load_bundle(digits).sha256}
    write_json(tmp_path / "model" / "provenance.json", provenance)
    summary = predict(digits, digit_file(tmp_path / "d.parquet", tiny_bundles.images(3)), tmp_path / "o")
    about = json.loads(pq.read_schema(summary.files[0].output).metadata[METADATA_KEY])
    assert about["model_version"] == summary.model_version
    assert about["provenance"] == provenance
    assert about["data"] == {"data/raw/mnist": "d41d8cd98f00b204e9800998ecf8427e"}
    assert about["source"] == "d.parquet"


@pytest.mark.parametrize(("batch_rows", "threads"), [(1, 1), (7, 2), (64, 3), (1000, 2)])
def test_neither_batch_nor_threads_change_the_predictions(
    tmp_path: Path, digits: Path, batch_rows: int, threads: int
) -> None:
    path = digit_file(tmp_path / "d.parquet", tiny_bundles.images(300), row_id=np.arange(300)[::-1])
    predict(digits, path, tmp_path / "streamed", batch_rows=batch_rows, threads=threads)
    predict(digits, path, tmp_path / "at-once", batch_rows=300, threads=1)
    assert pq.read_table(tmp_path / "streamed/d.parquet") == pq.read_table(tmp_path / "at-once/d.parquet")


def test_score_is_a_pure_function_of_its_batch(digits: Path) -> None:
    scorer = Scorer(load_bundle(digits), batch_rows=8)
    pixels = tiny_bundles.images(30)
    inputs = pa.FixedSizeListArray.from_arrays(pa.array(pixels.reshape(-1)), 784)
    batch = pa.record_batch([pa.array(range(30)), inputs], schema=SCHEMA)
    whole = scorer.score(batch)
    assert whole.schema == scorer.schema_of(SCHEMA)
    assert scorer.score(batch) == whole
    assert scorer.score(batch.slice(11, 9)) == whole.slice(11, 9)
    assert scorer.score(batch.slice(0, 0)).num_rows == 0
    assert np.array_equal(inputs.flatten().to_numpy().reshape(30, 784), pixels)


def test_long_files_are_written_in_several_row_groups(
    tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unroll.inference.writing.GROUP_ROWS", 50)
    path = digit_file(tmp_path / "d.parquet", tiny_bundles.images(220))
    output = predict(digits, path, tmp_path / "o", batch_rows=1).files[0].output
    assert [pq.ParquetFile(output).metadata.row_group(i).num_rows for i in range(4)] == [64, 64, 64, 28]
    assert pq.read_table(output)["row_id"].to_pylist() == list(range(220))


def price_file(path: Path, days: int = 4) -> Path:
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


def test_prices_get_the_next_business_day_and_a_log_return(tmp_path: Path) -> None:
    model = tiny_bundles.every_step(tmp_path / "bundle")
    predict(model, price_file(tmp_path / "p.parquet"), tmp_path / "o")
    out = pq.read_table(tmp_path / "o/p.parquet")
    assert out.drop_columns(["score", "model_version"]).to_pylist() == [
        {
            "row_id": f"{ticker}@2018-08-24",
            "ticker": ticker,
            "last_date": date(2018, 8, 24),
            "date": date(2018, 8, 27),
            "prediction": close + 1,
        }
        for ticker, close in (("AA", 4.0), ("BB", 104.0))
    ]
    assert out["score"].to_numpy() == pytest.approx(np.log([5 / 4, 105 / 104]), rel=1e-6)
    assert pq.read_table(tmp_path / "o/p.quarantine.parquet").to_pylist() == [
        {"row_id": "NEW@2018-08-21", "reason": "has 1 rows, the model needs 3"}
    ]


def test_several_columns_reach_the_graph_in_the_cards_order(tmp_path: Path) -> None:
    model = tiny_bundles.last_price(tmp_path / "bundle", columns=("volume", "close"), kind="log_return")
    predict(model, price_file(tmp_path / "p.parquet"), tmp_path / "o")
    out = pq.read_table(tmp_path / "o/p.parquet")
    assert out["prediction"].to_pylist() == [4, 104]
    assert out["score"].to_pylist() == [0, 0]


def test_quantiles_get_a_column_each(tmp_path: Path) -> None:
    model = tiny_bundles.quantiles(tmp_path / "bundle")
    predict(model, price_file(tmp_path / "p.parquet"), tmp_path / "o")
    out = pq.read_table(tmp_path / "o/p.parquet")
    assert out["prediction"].to_numpy() == pytest.approx(np.array([4, 104]) * np.exp(0.01), rel=1e-6)
    for name, value in {"q10": -0.02, "q50": 0.01, "q90": 0.03, "score": 0.01}.items():
        assert out[name].to_numpy() == pytest.approx(np.full(2, value), rel=1e-6)


def test_a_graph_that_gives_no_number_stops_with_the_row(tmp_path: Path) -> None:
    output = tiny_bundles.tensor("price", "float32", ["batch"])
    card = tiny_bundles.prices_card("price", [output], ["close"], 3)
    nodes = [
        onnx.helper.make_node("ReduceMax", ["inputs", "axes"], ["top"], keepdims=0),
        onnx.helper.make_node("Neg", ["top"], ["below"]),
        onnx.helper.make_node("Log", ["below"], ["price"]),
    ]
    tiny_bundles.write(tmp_path / "bundle", card, nodes, {"axes": np.array([1, 2])})
    with pytest.raises(DataError, match="gives the prediction nan for row AA@2018-08-24"):
        predict(tmp_path / "bundle", price_file(tmp_path / "p.parquet"), tmp_path / "o")
    assert not list((tmp_path / "o").iterdir())


def test_a_price_that_is_not_positive_has_no_score(tmp_path: Path) -> None:
    output = tiny_bundles.tensor("price", "float32", ["batch"])
    card = tiny_bundles.prices_card("price", [output], ["close"], 3)
    nodes = [
        onnx.helper.make_node("ReduceMax", ["inputs", "axes"], ["top"], keepdims=0),
        onnx.helper.make_node("Neg", ["top"], ["price"]),
    ]
    tiny_bundles.write(tmp_path / "bundle", card, nodes, {"axes": np.array([1, 2])})
    summary = predict(tmp_path / "bundle", price_file(tmp_path / "p.parquet"), tmp_path / "o")
    out = pq.read_table(summary.files[0].output)
    assert all(value < 0 for value in out["prediction"].to_pylist())
    assert out["score"].to_pylist() == [None] * out.num_rows


def test_a_folder_is_scored_file_by_file(tmp_path: Path, digits: Path) -> None:
    for name, rows in (("b", 2), ("a", 3), (".hidden", 4)):
        digit_file(tmp_path / f"in/{name}.parquet", tiny_bundles.images(rows))
    summary = predict(digits, tmp_path / "in", tmp_path / "o")
    assert [(one.output.name, one.rows) for one in summary.files] == [("a.parquet", 3), ("b.parquet", 2)]


def test_inputs_are_not_overwritten_and_outputs_do_not_collide(tmp_path: Path, digits: Path) -> None:
    digit_file(tmp_path / "in/a.parquet", tiny_bundles.images(1))
    with pytest.raises(DataError, match="would replace the input"):
        predict(digits, tmp_path / "in", tmp_path / "in")
    digit_file(tmp_path / "in/a.pq", tiny_bundles.images(1))
    with pytest.raises(DataError, match="would both be written to"):
        predict(digits, tmp_path / "in", tmp_path / "o")


def test_what_is_not_there_is_named(tmp_path: Path, digits: Path) -> None:
    with pytest.raises(DataError, match="nothing is not there"):
        predict(digits, tmp_path / "nothing", tmp_path / "o")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no files"):
        predict(digits, tmp_path / "empty", tmp_path / "o")
    with pytest.raises(ParameterError, match="batch_rows is 0"):
        predict(digits, tmp_path / "empty", tmp_path / "o", batch_rows=0)


def test_a_file_that_breaks_in_the_middle_leaves_nothing_half_written(tmp_path: Path, digits: Path) -> None:
    path = digit_file(tmp_path / "d.parquet", tiny_bundles.images(400))
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read after row"):
        predict(digits, tmp_path / "d.parquet", tmp_path / "o", batch_rows=4)
    assert not list((tmp_path / "o").iterdir())


def test_a_full_disk_is_a_clear_error(tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = digit_file(tmp_path / "d.parquet", tiny_bundles.images(3))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(UnrollError, match=r"d\.parquet cannot be written: No space left on device") as caught:
        predict(digits, path, tmp_path / "o")
    assert not isinstance(caught.value, DataError)


def test_scoring_loads_neither_torch_nor_the_pipeline(tmp_path: Path, digits: Path) -> None:
    digit_file(tmp_path / "d.parquet", tiny_bundles.images(3))
    code = (
        "import sys; from pathlib import Path\n"
        "import unroll.scoring.job\n"
        "from unroll.inference.predict import predict\n"
        f"predict(Path({str(digits)!r}), Path({str(tmp_path / 'd.parquet')!r}), Path({str(tmp_path / 'o')!r}))\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert {"onnxruntime", "pyarrow"} <= loaded
    assert not loaded & {"torch", "mlflow", "prefect", "dvc", "great_expectations", "onnx", "matplotlib", "sklearn"}


def test_a_check_sets_rows_aside_and_a_watch_sees_the_others(tmp_path: Path, digits: Path) -> None:
    path = digit_file(tmp_path / "d.parquet", tiny_bundles.images(700), row_id=np.arange(700))
    seen, watched = [], []

    def check(rows: pa.RecordBatch) -> dict[int, str]:
        seen.append(len(rows))
        return {place: "odd" for place, row in enumerate(rows["row_id"].to_pylist()) if row % 2}

    def watch(rows: pa.RecordBatch, predictions: pa.RecordBatch) -> None:
        assert rows["row_id"] == predictions["row_id"]
        watched.extend(predictions["row_id"].to_pylist())

    scorer = FileScorer(load_bundle(digits), threads=2, batch_rows=64, check=check, watch=watch)
    done = scorer.score_file(path, tmp_path / "o.parquet", quarantine=tmp_path / "q.parquet", note={})
    assert seen == [700]
    assert watched == pq.read_table(tmp_path / "o.parquet")["row_id"].to_pylist() == list(range(0, 700, 2))
    assert (done.rows_in, done.rows, done.set_aside and done.set_aside.rows) == (700, 350, 350)
    assert pq.read_table(tmp_path / "q.parquet").to_pylist()[1] == {"row_id": 3, "reason": "odd"}
    with pytest.raises(DataError, match=r"350 of 700 rows cannot be scored, more than the share of 0\.4"):
        scorer.score_file(path, tmp_path / "x.parquet", quarantine=tmp_path / "y.parquet", note={}, max_bad_share=0.4)
    assert not (tmp_path / "x.parquet").exists()
    assert not (tmp_path / "y.parquet").exists()


def test_a_check_of_few_bytes_is_called_with_few_rows(tmp_path: Path, digits: Path) -> None:
    batches = [pa.record_batch({"row_id": [1, 2, 3], "inputs": [[1]] * 3}) for _ in range(4)]
    sizes: list[int] = []
    found = list(checked(batches, lambda rows: {0: f"no {sizes.append(len(rows))}"}, held=1))
    assert sizes == [3, 3, 3, 3]
    assert [batch["reason"].to_pylist() for lot in found for batch in lot] == [["no None", None, None]] * 4


def test_a_check_sees_rows_of_several_batches_without_those_that_have_a_reason() -> None:
    def batch(*ids: int) -> pa.RecordBatch:
        reasons = pa.array(["old" if one < 0 else None for one in ids], pa.string())
        return pa.record_batch({"row_id": ids, "inputs": [[one] for one in ids], "reason": reasons})

    seen: list[dict[str, list[int]]] = []

    def check(rows: pa.RecordBatch) -> dict[int, str]:
        seen.append(rows.to_pydict())
        return {place: "odd" for place, one in enumerate(rows["row_id"].to_pylist()) if one % 2}

    (lot,) = checked([batch(-1, 2, 3), batch(-4), batch(5, 6, -7, 9)], check, held=1 << 20)
    assert seen == [{"row_id": [2, 3, 5, 6, 9], "reason": [None] * 5}]
    assert [one["reason"].to_pylist() for one in lot] == [["old", None, "odd"], ["old"], ["odd", None, "old", "odd"]]
    assert [one["inputs"].to_pylist() for one in lot][1:] == [[[-4]], [[5], [6], [-7], [9]]]


@pytest.mark.parametrize("threads", [1, 2])
def test_nothing_is_read_on_after_an_error(
    tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    path = digit_file(tmp_path / "d.parquet", tiny_bundles.images(700))

    def piece(*_: object) -> pa.RecordBatch:
        raise DataError("no number")

    monkeypatch.setattr(Scorer, "score_piece", piece)
    scorer = FileScorer(load_bundle(digits), threads, 2, check=lambda _: {}, memory_mb=256)
    before = set(threading.enumerate())
    with pytest.raises(DataError, match="no number") as caught:
        scorer.score_file(path, tmp_path / "o.parquet", quarantine=tmp_path / "q.parquet", note={})
    assert set(threading.enumerate()) == before
    # Until here the error was kept, and with its traceback all that it went through.
    assert caught.value.__traceback__ is not None


def test_prices_none_of_which_can_be_scored_are_bad_data(tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundles.last_price(tmp_path / "b", window=3))
    table = {"ticker": ["AA"] * 2, "date": [date(2018, 8, 23), date(2018, 8, 24)], "close": [1.0, 2.0]}
    pq.write_table(pa.table(table), tmp_path / "p.parquet")
    scorer = FileScorer(bundle, watch=lambda *_: None)
    with pytest.raises(DataError, match="none of 1 rows can be scored"):
        scorer.score_file(tmp_path / "p.parquet", tmp_path / "o", quarantine=tmp_path / "q", note={})


def test_the_next_lot_is_read_while_the_last_one_is_in_use() -> None:
    given: list[int] = []

    def items() -> Iterator[int]:
        for one in (1, 2, 3):
            given.append(one)
            yield one
        raise DataError("no more")

    ahead = _ahead(items())
    assert next(ahead) == 1
    assert next(ahead) == 2
    ahead.close()
    assert given == [1, 2, 3]
    with pytest.raises(DataError, match="no more"):
        list(_ahead(items()))


def test_what_does_not_fit_into_memory_is_cut_smaller_or_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(tiny_bundles.recordings(tmp_path / "bundle"))
    frames = [[[1.0, 2.0]] * steps for steps in (1, 300_000, 2, 90_000, 180_000)]
    pq.write_table(pa.table({"frames": frames}), tmp_path / "a.parquet")
    asked: list[int] = []
    scorer = FileScorer(bundle, threads=2, memory_mb=256)
    real = Scorer.outputs
    monkeypatch.setattr(Scorer, "outputs", lambda self, batch: asked.append(len(batch)) or real(self, batch))
    done = scorer.score_file(tmp_path / "a.parquet", tmp_path / "o.parquet", quarantine=tmp_path / "q.parquet", note={})
    assert sorted(asked) == [1, 1, 2]
    assert (done.rows, done.set_aside and done.set_aside.rows) == (4, 1)
    (reason,) = pq.read_table(tmp_path / "q.parquet")["reason"].to_pylist()
    assert reason == "the row has 600,000 values, of which memory_mb allows 524,288"
