"""A real Prefect server, small real DVC repositories, and a place to score."""

import shutil
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml
from flow_processes import ROOT, DvcRepo, Server, process


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("prefect-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(f"http://127.0.0.1:{port}/api", folder / "home")
    environment = server.environment() | {"PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    del environment["PREFECT_API_URL"]
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
        deadline = time.monotonic() + 180
        while not _is_up(server):
            if child.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the Prefect server did not start:\n{log.read_text()}")
            time.sleep(0.2)
        yield server


def _is_up(server: Server) -> bool:
    try:
        return requests.get(f"{server.api}/health", timeout=5).ok
    except requests.RequestException:
        return False


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
