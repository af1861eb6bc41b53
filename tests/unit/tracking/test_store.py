"""The store that two stages use at once, and what is seen of models at work."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import tiny_bundles
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from servers import free_port, mlflow_server

from unroll.errors import ServiceUnavailable, TrackingError
from unroll.inference.bundle import load_bundle
from unroll.tracking import registry
from unroll.tracking.live import EXPERIMENT, log_live
from unroll.tracking.store import experiment_id, open_store, tolerating_existing

pytestmark = pytest.mark.filterwarnings("ignore")


def see_nothing_of_each_other(monkeypatch, look, times=1):
    """The first looks of two users end together, so that neither sees what the other is about to make."""
    both, real, looks = Barrier(2), getattr(MlflowClient, look), []

    def looked(*arguments, **options):
        found = real(*arguments, **options)
        looks.append(look)
        if len(looks) <= 2 * times:
            both.wait(180)
        return found

    monkeypatch.setattr(MlflowClient, look, looked)


def at_once(what):
    with ThreadPoolExecutor(2) as pool:
        return sorted(pool.map(what, range(2)))


def test_two_stages_make_one_experiment(own_store, monkeypatch):
    see_nothing_of_each_other(monkeypatch, "get_experiment_by_name")
    with open_store() as client:
        first, second = at_once(lambda _: experiment_id(client, "digit-rows"))
        assert first == second
        assert client.get_experiment(first).name == "digit-rows"


@pytest.mark.slow
def test_two_machines_register_under_one_new_name(here, monkeypatch):
    """On a server: a store in a file has one user at a time."""
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")

    def register(which):
        folder = here / str(which)
        bundle = load_bundle(tiny_bundles.digits(folder / "bundle", "tiny-digits"))
        stated = {"unroll.experiment": "tiny-digits", "unroll.model_version": bundle.version}
        stated |= {"unroll.model_sha256": f"{which}" * 64, "unroll.git_commit": "c0ffee", "unroll.data": "{}"}
        return registry.register("digit-rows", runs[which], folder, stated).version

    (here / "server").mkdir()
    with mlflow_server(here / "server", port):
        # One look is for the versions, the next for the name.
        see_nothing_of_each_other(monkeypatch, "search_registered_models", times=2)
        with open_store() as client:
            experiment = experiment_id(client, "digit-rows")
            runs = [client.create_run(experiment).info.run_id for _ in range(2)]
        assert at_once(register) == ["1", "2"]


def test_other_errors_of_the_store_are_raised(own_store):
    with open_store() as client, pytest.raises(MlflowException, match="Invalid experiment name"), tolerating_existing():
        client.create_experiment("")


@pytest.mark.parametrize(
    ("driver", "kind", "advice"),
    [
        ("psycopg", ServiceUnavailable, "correct MLFLOW_TRACKING_URI"),
        ("pg8000", TrackingError, "postgresql+psycopg://"),
    ],
)
def test_a_database_server_that_cannot_be_reached(here, monkeypatch, capfd, driver, kind, advice):
    """At once, and in one line: MLflow would try ten times."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql+{driver}://u:p@127.0.0.1:1/x")
    with pytest.raises(kind) as error, open_store():
        pass
    assert advice in str(error.value)
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


def test_runs_have_figures_tags_and_files(own_store):
    page = own_store / "drift.html"
    page.write_text("<!doctype html>")
    registered, tags = {"name": "digit-rows", "version": "3", "run_id": "abc"}, {"unroll.live": "drift"}
    first = log_live("drift", "tiny@0", {"drift.ink.psi": 0.5}, registered=registered, tags=tags, files=[page])
    second = log_live("truth", "tiny@0", {"live.accuracy": 0.9})
    client = MlflowClient()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert {run.info.run_id for run in client.search_runs([experiment.experiment_id])} == {first, second}
    run = client.get_run(first)
    assert run.data.metrics == {"drift.ink.psi": 0.5}
    assert run.data.tags["unroll.model_version"] == "tiny@0"
    assert run.data.tags["unroll.registered.version"] == "3"
    assert run.data.tags["unroll.live"] == "drift"
    assert run.info.status == "FINISHED"
    assert [one.path for one in client.list_artifacts(first)] == ["drift.html"]


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_repository_that_was_moved_or_copied_has_its_own_files(here, monkeypatch, own_store, how):
    """Moved into a folder whose name an address has to escape."""
    page = here / "drift.html"
    page.write_text("before")
    run = log_live("drift", "tiny@0", {}, files=[page])
    original, new = here / "mlruns", here / "mo ved"
    new.mkdir()
    shutil.copy(here / "mlflow.db", new)
    shutil.copytree(original, new / "mlruns")
    before = sorted(original.rglob("*"))
    if how == "moved":
        shutil.rmtree(original)
        (here / "mlflow.db").unlink()
    monkeypatch.chdir(new)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{new / 'mlflow.db'}")
    page.write_text("after")
    with open_store() as client:
        # This process remembers where the run's files were; another one reads it here.
        assert client.get_run(run).info.artifact_uri == f"{new.as_uri()}/mlruns/{EXPERIMENT}/{run}/artifacts"
        later = client.create_run(experiment_id(client, EXPERIMENT)).info.run_id
        client.log_artifact(later, str(page))
    assert len(list((new / "mlruns").rglob("drift.html"))) == 2
    assert sorted(original.rglob("*")) == ([] if how == "moved" else before)


def test_files_that_cannot_be_kept_fail_the_run(own_store):
    """As it is where the artifacts' server cannot be reached, and the store itself answers."""
    with pytest.raises(TrackingError, match=r"drift\.html"):
        log_live("drift", "tiny@0", {"drift.ink.psi": 0.5}, files=[own_store / "drift.html"])
    client = MlflowClient()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["FAILED"]
