"""The store that two stages use at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import tiny_bundles
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from servers import free_port, mlflow_server

from unroll.inference.bundle import load_bundle
from unroll.tracking import registry
from unroll.tracking.store import experiment_id, open_store, tolerating_existing

pytestmark = pytest.mark.filterwarnings("ignore")


def see_nothing_of_each_other(monkeypatch: pytest.MonkeyPatch, look: str, times: int = 1) -> None:
    """The first looks of two users end together, so that neither sees what the other is about to make."""
    both, real, looks = Barrier(2), getattr(MlflowClient, look), []

    def looked(*arguments: Any, **options: Any) -> Any:
        found = real(*arguments, **options)
        looks.append(look)
        if len(looks) <= 2 * times:
            both.wait(180)
        return found

    monkeypatch.setattr(MlflowClient, look, looked)


def at_once(what: Callable[[int], str]) -> list[str]:
    with ThreadPoolExecutor(2) as pool:
        return sorted(pool.map(what, range(2)))


def test_two_stages_make_one_experiment(own_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    see_nothing_of_each_other(monkeypatch, "get_experiment_by_name")
    with open_store() as client:
        first, second = at_once(lambda _: experiment_id(client, "digit-rows"))
        assert first == second
        assert client.get_experiment(first).name == "digit-rows"


@pytest.mark.slow
def test_two_machines_register_under_one_new_name(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a server: a store in a file has one user at a time."""
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    (here / "server").mkdir()
    with mlflow_server(here / "server", port):
        _two_register(here, monkeypatch)


def _two_register(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One look is for the versions, the next for the name.
    see_nothing_of_each_other(monkeypatch, "search_registered_models", times=2)
    with open_store() as client:
        experiment = experiment_id(client, "digit-rows")
        runs = [client.create_run(experiment).info.run_id for _ in range(2)]

    def register(which: int) -> str:
        folder = here / str(which)
        bundle = load_bundle(tiny_bundles.digits(folder / "bundle", "tiny-digits"))
        stated = {"unroll.experiment": "tiny-digits", "unroll.model_version": bundle.version}
        stated |= {"unroll.model_sha256": f"{which}" * 64, "unroll.git_commit": "c0ffee", "unroll.data": "{}"}
        return registry.register("digit-rows", runs[which], folder, stated).version

    assert at_once(register) == ["1", "2"]


def test_other_errors_of_the_store_are_raised(own_store: Path) -> None:
    with open_store() as client, pytest.raises(MlflowException, match="Invalid experiment name"), tolerating_existing():
        client.create_experiment("")
