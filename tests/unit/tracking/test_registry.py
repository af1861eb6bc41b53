"""The registry on a SQLite store, and on a real server."""

import errno
import json
import os
from pathlib import Path

import pytest
import tiny_bundles
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from servers import free_port, mlflow_server

from unroll.errors import ServiceUnavailable, TrackingError, VersionError
from unroll.inference.bundle import load_bundle
from unroll.tracking import registry
from unroll.tracking.store import open_store

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def here(own_store):
    return own_store


@pytest.fixture(params=["sqlite", pytest.param("server", marks=pytest.mark.slow)])
def kept(request, here, monkeypatch):
    """A store; gives the folder to work in."""
    if request.param == "sqlite":
        yield here
        return
    (here / "server").mkdir()
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    with mlflow_server(here / "server", port):
        yield here


def a_run(name="digit-rows"):
    local = os.environ["MLFLOW_TRACKING_URI"].startswith("sqlite:")
    place = (Path("mlruns").resolve() / name).as_uri() if local else None
    with open_store() as client:
        found = client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else client.create_experiment(name, place)
        return client.create_run(experiment, run_name="a-run").info.run_id


def files(folder, name="tiny-digits", note="x"):
    """What is registered: a bundle and where it comes from."""
    bundle = load_bundle(tiny_bundles.digits(folder / "bundle", name))
    about = {"git_commit": note, "model_sha256": bundle.sha256}
    (folder / "provenance.json").write_text(json.dumps(about))
    return bundle


def register(folder, sha256=None, **tags):
    bundle = files(folder)
    stated = {
        "unroll.experiment": "tiny-digits",
        "unroll.model_version": bundle.version,
        "unroll.model_sha256": sha256 or bundle.sha256,
        "unroll.git_commit": "c0ffee",
        "unroll.data": json.dumps({"data/raw/mnist": "0" * 32}),
    }
    return registry.register("digit-rows", a_run(), folder, stated | tags), bundle


def test_from_registration_to_rollback(kept):
    one, bundle = register(kept / "one")
    assert (one.name, one.version, one.aliases) == ("digit-rows", "1", ())
    assert (one.experiment, one.model_version, one.model_sha256) == ("tiny-digits", bundle.version, bundle.sha256)
    assert one.data == {"data/raw/mnist": "0" * 32}
    again, _ = register(kept / "one")
    assert again.version == "1"

    # A bundle that answers alike under another number.
    two, _ = register(kept / "two", sha256="f" * 64)
    assert two.version == "2"
    assert [found.version for found in registry.versions("digit-rows")] == ["2", "1"]
    assert [found.version for found in registry.versions()] == ["2", "1"]

    assert registry.promote("digit-rows", "1") is None
    registry.set_alias("digit-rows", "2", registry.CHALLENGER)
    assert registry.version_of("digit-rows", "challenger").version == "2"
    assert registry.promote("digit-rows", "challenger").version == "1"
    assert registry.version_of("digit-rows", "champion").aliases == ("champion",)
    assert registry.version_of("digit-rows", "1").aliases == ("previous",)
    assert registry.promote("digit-rows", "2") is None
    assert registry.promote("digit-rows", "previous").version == "2"
    assert registry.version_of("digit-rows", "champion").version == "1"
    assert registry.version_of("digit-rows", "2").aliases == ("previous",)

    registry.tag_version("digit-rows", "2", {registry.DECISION: "undecided"})
    assert registry.version_of("digit-rows", "2").tags[registry.DECISION] == "undecided"
    registry.tag_run(one.run_id, {"unroll.gate.parity": "passed: x"})
    assert registry.run_of(one.run_id)["tags"]["unroll.gate.parity"] == "passed: x"
    assert registry.run_of("0" * 32) is None

    found = registry.resolve("models:/digit-rows@champion")
    assert (found.name, found.version, found.run_id) == ("digit-rows", "1", one.run_id)
    assert found.folder == Path(".unroll/models/digit-rows/1")
    there = load_bundle(found.folder)
    assert there.version == bundle.version
    assert there.provenance["git_commit"] == "x"
    assert sorted(path.name for path in found.folder.parent.iterdir()) == ["1"]

    # Those that are whole are used again, the others are fetched again.
    graph = found.folder / "bundle/model.onnx"
    before = graph.stat().st_mtime_ns
    assert registry.resolve("models:/digit-rows/1") == found
    assert graph.stat().st_mtime_ns == before
    graph.write_bytes(b"cut off")
    assert load_bundle(registry.resolve("models:/digit-rows/1").folder).version == bundle.version

    # Its number says another graph than its files hold.
    with pytest.raises(VersionError, match=r"not what was registered.*rollback"):
        registry.resolve("models:/digit-rows/2")
    assert not Path(".unroll/models/digit-rows/2").exists()


def test_what_a_later_export_writes_into_the_run_changes_no_version(here):
    one, bundle = register(here / "one")
    with open_store() as client:
        (here / "later").mkdir()
        (here / "later/model.onnx").write_bytes(b"another")
        client.log_artifacts(one.run_id, str(here / "later"), "bundle")
    assert load_bundle(registry.resolve("models:/digit-rows/1").folder).sha256 == bundle.sha256


@pytest.mark.parametrize("uri", ["models:/a", "models:/../x@champion", "models:/a/b", "a@champion", "models:/a@b@c"])
def test_addresses_that_name_nothing(here, uri):
    with pytest.raises(TrackingError, match="models:/NAME@ALIAS"):
        registry.resolve(uri)


def test_what_is_not_there(here):
    with pytest.raises(TrackingError, match="unroll models gate"):
        registry.resolve("models:/digit-rows@champion")
    register(here / "one")
    with pytest.raises(TrackingError, match=r"alias 'champion'.*versions: 1; aliases: none"):
        registry.resolve("models:/digit-rows@champion")
    with pytest.raises(TrackingError, match="version 7"):
        registry.promote("digit-rows", "7")
    with pytest.raises(TrackingError, match="registered model"):
        registry.version_of("a' OR name = 'b", "1")


def test_files_that_exist_and_cannot_be_downloaded(here, monkeypatch):
    """It is not the version's fault, though MLflow raises the same error."""
    _, bundle = register(here / "one")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as at_fault:
        at_fault.setattr(LocalArtifactRepository, "_download_file", full)
        with pytest.raises(TrackingError, match="cannot be downloaded") as caught:
            registry.resolve("models:/digit-rows/1")
    assert not isinstance(caught.value, VersionError)
    assert load_bundle(registry.resolve("models:/digit-rows/1").folder).sha256 == bundle.sha256


def test_a_store_that_is_away(here, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ServiceUnavailable, match="MLFLOW_TRACKING_URI"):
        registry.resolve("models:/digit-rows@champion")
