"""A real Prefect server, small real DVC repositories, and a place to score."""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml
from flow_processes import ROOT, DvcRepo, Server, process, wait_for
from servers import free_port


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of a process."""
    folder, port = tmp_path_factory.mktemp("prefect-server"), free_port()
    server = Server(f"http://127.0.0.1:{port}/api", folder / "home")
    environment = server.environment() | {"PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    command = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-ui",
    ]
    log = folder / "server.log"
    with process(command, log, env=environment, cwd=folder) as child:

        def is_up() -> bool:
            assert child.poll() is None, log.read_text()
            with contextlib.suppress(requests.RequestException):
                return requests.get(f"{server.api}/health", timeout=5).ok
            return False

        wait_for(is_up, 180, log.read_text)
        yield server


@pytest.fixture
def scoring_place(tmp_path: Path) -> Path:
    """A copy of what a scoring machine has, but for the model, `models/tiny-digits`: flows, parameters, an inbox."""
    place = tmp_path / "workplace"
    shutil.copytree(ROOT / "pipelines", place / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    parameters = yaml.safe_load((ROOT / "params.yaml").read_text())
    parameters["scoring"] |= {"model": "models/tiny-digits", "settle_seconds": 0.0}
    (place / "params.yaml").write_text(yaml.safe_dump(parameters, sort_keys=False))
    (place / "data/inbox").mkdir(parents=True)
    return place


@pytest.fixture
def dvc_repo(tmp_path: Path) -> DvcRepo:
    repo = DvcRepo(tmp_path / "repo")
    repo.path.mkdir()
    repo.initialize()
    return repo
