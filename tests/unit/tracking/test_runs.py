"""Tracking with a store of the test's own: SQLite in its folder."""

import csv
import os

import pytest
import requests
from mlflow import MlflowClient
from sqlalchemy.exc import OperationalError

from unroll import paths
from unroll.config.experiments import Experiment
from unroll.errors import ServiceUnavailable, TrackingError
from unroll.files import read_json, sha256_of, write_json
from unroll.tracking import Run, data_hashes, provenance, results
from unroll.tracking.search import SearchRun, TrialRecord
from unroll.tracking.store import error_for, is_temporary, translated_errors

MD5 = "0123456789abcdef0123456789abcdef.dir"
HISTORY = [
    {
        "fold": "all",
        "seed": 0,
        "epoch": epoch,
        "train_loss": 1 / epoch,
        "valid_loss": 2 / epoch,
        "valid_metric": 3 / epoch,
        "gradient_norm": 0.5,
    }
    for epoch in (1, 2, 3)
]


def test_data_hashes(here):
    assert data_hashes(paths.raw("stock")) == {}
    (here / "dvc.lock").write_text(
        f"stages:\n  ingest@stock:\n    outs:\n    - path: data/raw/stock\n      md5: {MD5}\n"
        f"  validate@stock:\n    cmd: x\n    outs:\n    - path: data/validation/stock\n      md5: {MD5}\n"
    )
    assert data_hashes(paths.raw("stock"), paths.features("x")) == {"data/raw/stock": MD5}


@pytest.fixture
def experiment(tiny):
    return Experiment(domain="prices", task="price-60", model=tiny.model("gru"), training=tiny.training())


@pytest.fixture
def started(here, tiny, experiment):
    (here / "dvc.lock").write_text(
        f"stages:\n  featurize@price-60:\n    outs:\n    - path: data/features/price-60\n      md5: {MD5}\n"
    )
    return Run.start("an-experiment", experiment, tiny.section("price"), "rmse", here / "note.json")


def client():
    import mlflow

    return mlflow.MlflowClient(tracking_uri=os.environ["MLFLOW_TRACKING_URI"])


def steps(run_id, name="train_loss"):
    return [metric.step for metric in client().get_metric_history(run_id, name)]


@pytest.mark.filterwarnings("ignore")
class TestStore:
    """Each of these opens a store: a second or two."""

    def test_a_run_from_start_to_end(self, started, here, tiny, experiment):
        run_id = started.run_id
        found = client().get_run(run_id)
        assert client().get_experiment(found.info.experiment_id).name == "price-60"
        assert found.info.run_name == "an-experiment"
        assert found.data.params["training.epochs"] == "3"
        assert found.data.params["task.window"] == "8"
        assert found.data.tags["unroll.dvc_stage"] == "train@an-experiment"
        assert set(found.data.tags) >= {"unroll.git_commit", "unroll.git_dirty"}
        (entry,) = found.inputs.dataset_inputs
        assert (entry.dataset.name, entry.dataset.digest) == ("data/features/price-60", MD5)
        assert read_json(paths.provenance("an-experiment"))["mlflow_run_id"] == run_id
        assert (here / "mlflow.db").exists()

        with started as run:
            run.log_epoch("", HISTORY[0])
            assert client().get_run(run_id).info.status == "RUNNING"
            run.log_history(HISTORY)
            run.log_history(HISTORY)
        assert steps(run_id) == [1, 2, 3]
        assert client().get_run(run_id).data.metrics["valid_rmse"] == 1.0
        assert client().get_run(run_id).info.status == "FINISHED"

        # A killed training goes on with its run; sending the results resumes it.
        again = Run.start("an-experiment", experiment, tiny.section("price"), "rmse", here / "note.json")
        assert again.run_id == run_id
        resumed = Run.resume("an-experiment", experiment, tiny.section("price"), "rmse")
        assert resumed.run_id == run_id
        figures = {"test": {"rmse": 1.5, "periods": {"2017-01 to 2018-08": {"rmse": 2.5}}, "name": "x", "none": None}}
        resumed.log_figures(figures)
        metrics = client().get_run(run_id).data.metrics
        assert metrics["test.rmse"] == 1.5
        assert metrics["test.periods.2017-01 to 2018-08.rmse"] == 2.5

        # A result that was restored from DVC's cache: this store does not know its run.
        write_json(paths.provenance("an-experiment"), {"mlflow_run_id": "0" * 32})
        restored = Run.resume("an-experiment", experiment, tiny.section("price"), "rmse")
        assert restored.run_id != run_id
        tags = client().get_run(restored.run_id).data.tags
        assert (tags["unroll.restored"], tags["unroll.restored_from_run"]) == ("true", "0" * 32)
        assert read_json(paths.provenance("an-experiment"))["mlflow_run_id"] == restored.run_id

        # And one without any provenance.
        paths.provenance("an-experiment").unlink()
        other = Run.resume("an-experiment", experiment, tiny.section("price"), "rmse")
        assert "unroll.restored_from_run" not in client().get_run(other.run_id).data.tags

    def test_an_exception_fails_the_run(self, started):
        def fail():
            with started:
                raise KeyError("x")

        with pytest.raises(KeyError):
            fail()
        assert client().get_run(started.run_id).info.status == "FAILED"

    def test_several_networks_have_metrics_of_their_own(self, started):
        history = [
            {**row, "fold": fold, "seed": seed} for fold in ("2013", "2014") for seed in (0, 1) for row in HISTORY
        ]
        started.log_history(history)
        for prefix in ("2013.seed0.", "2013.seed1.", "2014.seed0.", "2014.seed1."):
            assert steps(started.run_id, f"{prefix}train_loss") == [1, 2, 3]
        assert steps(started.run_id) == []

    def test_rows_without_validation(self, started):
        history = [{**row, "valid_loss": None, "valid_metric": None} for row in HISTORY]
        started.log_history(history)
        assert steps(started.run_id) == [1, 2, 3]
        assert steps(started.run_id, "valid_rmse") == []

    def test_a_store_that_goes_away_is_asked_once_and_gets_all_later(self, started, monkeypatch, caplog):
        import mlflow

        real, calls = started._client, []

        class Away:
            def __getattr__(self, name):
                def call(*arguments, **options):
                    calls.append(name)
                    raise mlflow.exceptions.MlflowException("no answer")

                return call

        with started as run:
            run.log_epoch("", HISTORY[0])
            started._client = Away()
            run.log_epoch("", HISTORY[1])
            run.log_epoch("", HISTORY[2])
            assert calls == ["log_batch"]
            assert len([record for record in caplog.records if "unroll compare" in record.message]) == 1
            started._client = real
            run.log_history(HISTORY)
        assert steps(started.run_id) == [1, 2, 3]


@pytest.mark.filterwarnings("ignore")
def test_a_search_whose_store_went_away_ends_its_run(own_store, tiny, experiment, monkeypatch, caplog):
    with SearchRun.open("gru", experiment, tiny.section("price"), "rmse", None) as run:
        trial = TrialRecord(0, "complete", {"training.epochs": 3}, 0.5, {1: 0.5}, 1, 2)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        real, run._client = run._client, MlflowClient("http://127.0.0.1:1")
        run.log_trials([trial])
        run._client = real
        (own_store / "tuning").mkdir()
        run.log_results([trial], {"summary": "done"}, own_store / "tuning")
    assert real.get_run(run.run_id).info.status == "FINISHED"
    (warning,) = [record.message for record in caplog.records if "unavailable" in record.message]
    assert "the search" in warning


@pytest.mark.parametrize(
    ("address", "error", "shown"),
    [
        ("http://someone:secret@127.0.0.1:1", ServiceUnavailable, "http://127.0.0.1:1"),
        ("sqlite:///a-file/mlflow.db", TrackingError, "sqlite:///a-file/mlflow.db"),
        ("nonsense://x", TrackingError, "nonsense://x"),
    ],
)
def test_a_store_that_cannot_be_used(here, tiny, experiment, monkeypatch, address, error, shown):
    (here / "a-file").write_text("not a folder")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(error) as caught:
        Run.start("x", experiment, tiny.section("price"), "rmse", here / "note.json")
    assert shown in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "MLFLOW_TRACKING_URI" in str(caught.value)
    assert not (here / "note.json").exists()
    assert not paths.provenance("x").exists()


def answered(status):
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError("answered", response=response)


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (requests.ConnectionError("refused"), ServiceUnavailable),
        (requests.ReadTimeout("slow"), ServiceUnavailable),
        (answered(503), ServiceUnavailable),
        (requests.exceptions.RetryError("too many 500 error responses"), ServiceUnavailable),
        (ConnectionResetError("reset"), ServiceUnavailable),
        (answered(403), TrackingError),
        (OSError(28, "No space left on device"), TrackingError),
    ],
    ids=lambda value: str(value)[:40],
)
def test_only_the_network_makes_a_store_unavailable(cause, kind):
    from mlflow.exceptions import MlflowException

    assert error_for(cause) is kind

    def wrap():
        try:
            raise cause
        except Exception as error:
            raise MlflowException(f"API request failed: {error}")  # noqa: B904 -- as MLflow does

    with pytest.raises(kind), translated_errors():
        wrap()


@pytest.mark.parametrize(
    ("text", "temporary"),
    [
        ("connection refused", True),
        ("FATAL: the database system is starting up", True),
        ("FATAL: terminating connection due to administrator command", True),
        ("FATAL: password authentication failed for user", False),
        ('FATAL: database "x" does not exist', False),
    ],
)
def test_a_database_that_restarts_is_unavailable_and_one_that_refuses_is_not(text, temporary):
    error = OperationalError("SELECT 1", {}, Exception(text))
    assert is_temporary(error, in_file=False) == temporary
    assert not is_temporary(error, in_file=True)


def test_a_lock_file_that_is_being_written_is_read_again(here, monkeypatch):
    whole = f"stages:\n  ingest@stock:\n    outs:\n    - path: data/raw/stock\n      md5: {MD5}\n"
    (here / "dvc.lock").write_text(whole[:-9])
    monkeypatch.setattr(provenance.time, "sleep", lambda seconds: (here / "dvc.lock").write_text(whole))
    assert data_hashes(paths.raw("stock")) == {"data/raw/stock": MD5}


def test_other_weights_belong_to_no_known_run(started, experiment, tiny):
    """DVC may bring the weights of another run back; what is measured of them must not go into this run."""
    paths.weights("an-experiment").mkdir(parents=True)
    (paths.weights("an-experiment") / "all-seed0.safetensors").write_bytes(b"other weights")
    resumed = Run.resume("an-experiment", experiment, tiny.section("price"), "rmse")
    assert resumed.run_id != started.run_id
    assert client().get_run(resumed.run_id).data.tags["unroll.restored"] == "true"
    again = Run.resume("an-experiment", experiment, tiny.section("price"), "rmse")
    assert again.run_id == resumed.run_id


def test_results_are_sent_once_and_again_when_they_change(started, here, tiny, experiment, monkeypatch):
    name, run_id, models = "an-experiment", started.run_id, []
    monkeypatch.setattr(
        results, "load_section", lambda kind, _: experiment if kind == "experiments" else tiny.section("price")
    )
    monkeypatch.setattr(Run, "log_model", lambda self, bundle: models.append(self.run_id))
    assert results.unsent([name]) == []  # there are none
    with paths.history(name).open("w") as file:
        writer = csv.DictWriter(file, HISTORY[0])
        writer.writeheader()
        writer.writerows(HISTORY)
    for folder in (paths.plots(name), paths.bundle(name)):
        folder.mkdir(parents=True)
        (folder / "a.txt").write_text("here")
    paths.graph(name).write_bytes(b"graph")
    write_json(paths.parity(name), {"max_abs_error": 0.0, "max_relative_error": 1e-7})
    evaluation = {"metric": "rmse", "test": {"rmse": 1.5}, "baseline": {"persistence": {"rmse": 2.0}}}
    write_json(paths.evaluation(name), evaluation)
    assert results.unsent([name]) == [name]
    results.send_results([name])
    run = client().get_run(run_id)
    assert (run.data.metrics["test.rmse"], run.data.metrics["parity.max_relative_error"]) == (1.5, 1e-7)
    assert steps(run_id) == [1, 2, 3]
    assert [one.path for one in client().list_artifacts(run_id)] == ["plots"]
    assert (results.unsent([name]), models) == ([], [run_id])
    assert read_json(paths.provenance(name))["model_sha256"] == sha256_of(paths.graph(name))
    results.send_results([name])
    assert client().get_run(run_id).info.end_time == run.info.end_time
    write_json(paths.evaluation(name), evaluation | {"test": {"rmse": 1.25}})
    results.send_results([name])
    assert client().get_run(run_id).data.metrics["test.rmse"] == 1.25
    # The model is the one that was sent.
    assert models == [run_id]
