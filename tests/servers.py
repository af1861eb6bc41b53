"""Real servers of a test's own, on loopback: PostgreSQL, an object store that speaks S3, and MLflow's."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
import requests

KEYS = {"AWS_ACCESS_KEY_ID": "test-key", "AWS_SECRET_ACCESS_KEY": "test-secret-key"}


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class Postgres:
    """A cluster that can be stopped and started again."""

    programs: Path
    cluster: Path
    owner: str | None
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://unroll@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = ["-c", "listen_addresses=127.0.0.1", "-p", str(self.port), "-k", str(self.cluster), "-F"]
        self._process = self._run([str(self.programs / "postgres"), "-D", str(self.cluster), *options])
        deadline = time.monotonic() + 180
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=5).close()
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, (self.cluster / "log").read_text()
                time.sleep(0.1)
            else:
                return

    def stop(self) -> None:
        """Ends every session at once, as a restart does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=180)
            self._process = None

    def make(self) -> None:
        command = [str(self.programs / "initdb"), "-D", str(self.cluster), "-U", "unroll", "-A", "trust", "-N"]
        assert self._run([*command, "-E", "UTF8", "--no-instructions"]).wait(timeout=180) == 0

    def _run(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.cluster.parent / "log").open("ab") as log:
            return subprocess.Popen(command, cwd="/", stdout=log, stderr=log, user=self.owner)


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL; skips the test where none is installed, or none can be started."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    program = str(found[-1]) if found else shutil.which("initdb")
    if program is None:
        pytest.skip("PostgreSQL's server is not installed")
    owner = None
    if os.geteuid() == 0:  # whom it refuses
        owner = next((name for name in ("postgres", "nobody") if name in {one.pw_name for one in pwd.getpwall()}), None)
        if owner is None:
            pytest.skip("PostgreSQL does not run as root, and there is no other user")
    # Not below pytest's own folder, which other users may not enter.
    home = Path(tempfile.mkdtemp(prefix="unroll-postgres-"))
    try:
        home.chmod(0o755)
        cluster = home / "cluster"
        cluster.mkdir(mode=0o700)
        if owner:
            shutil.chown(cluster, owner)
        server = Postgres(Path(program).parent, cluster, owner)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(home)


@contextlib.contextmanager
def object_store(folder: Path) -> Iterator[dict[str, str]]:
    """A running S3-compatible server with the bucket `unroll`; gives the environment that leads to it."""
    port = free_port()
    environment = {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    secrets = {"NANIO_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"], "NANIO_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]}
    (folder / "unroll").mkdir(parents=True)
    command = [sys.executable, "-m", "nanio", "serve", "--data-dir", str(folder), "--host", "127.0.0.1"]
    with (folder.parent / "nanio.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--no-access-log"], stdout=log, stderr=log, env={**os.environ, **secrets}
        )
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                urllib.request.urlopen(environment["AWS_ENDPOINT_URL"], timeout=5).close()  # noqa: S310 -- of its own
                break
            except urllib.error.HTTPError:
                break  # it answers
            except OSError:
                assert process.poll() is None, (folder.parent / "nanio.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield environment
    finally:
        process.terminate()
        process.wait(timeout=180)


@contextlib.contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server on the folder's own store; gone, with its workers, when the block ends."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder / 'server.db'}",
        "--artifacts-destination",
        str(folder / "kept"),
    ]
    quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("ab") as log:
        child = subprocess.Popen(command, cwd=folder, env=quiet, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok:
                    break
            if child.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the MLflow server did not start:\n{(folder / 'server.log').read_text()[-3000:]}")
            time.sleep(0.2)
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
