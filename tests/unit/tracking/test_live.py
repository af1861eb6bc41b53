"""What is seen of models at work, in a store of the test's own."""

from pathlib import Path

import pytest

from unroll.errors import ServiceUnavailable, TrackingError
from unroll.tracking.live import EXPERIMENT, log_live


def test_runs_have_figures_tags_and_files(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here}/mlflow.db")
    page = here / "drift.html"
    page.write_text("<!doctype html>")
    first = log_live(
        "drift tiny@0",
        "tiny@0",
        {"drift.ink.psi": 0.5},
        registered={"name": "digit-rows", "version": "3", "run_id": "abc"},
        tags={"unroll.live": "drift"},
        files=[page],
    )
    second = log_live("truth tiny@0", "tiny@0", {"live.accuracy": 0.9})

    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert {run.info.run_id for run in client.search_runs([experiment.experiment_id])} == {first, second}
    run = client.get_run(first)
    assert run.data.metrics == {"drift.ink.psi": 0.5}
    assert run.data.tags["unroll.model_version"] == "tiny@0"
    assert run.data.tags["unroll.registered.version"] == "3"
    assert run.data.tags["unroll.live"] == "drift"
    assert run.info.status == "FINISHED"
    assert [one.path for one in client.list_artifacts(first)] == ["drift.html"]


def test_files_that_cannot_be_kept_fail_the_run(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is where the artifacts' server is away, and the store itself answers."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here}/mlflow.db")
    import mlflow

    with pytest.raises(TrackingError, match=r"drift\.html"):
        log_live("drift", "tiny@0", {"drift.ink.psi": 0.5}, files=[here / "drift.html"])
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["FAILED"]


def test_a_store_that_is_away(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ServiceUnavailable, match=r"127\.0\.0\.1:9"):
        log_live("drift", "tiny@0", {})
