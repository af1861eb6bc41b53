"""The stack's own behaviour, on its two stores: started, looked at, broken, stopped; and DVC's remote on it."""

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest
import s3fs
import yaml
from stack_processes import Stack

pytestmark = pytest.mark.slow


def test_servers_listen_on_loopback_alone(stores: Stack) -> None:
    listening = []
    for process in stores.processes():
        # PostgreSQL has one for a moment for each connection.
        with contextlib.suppress(psutil.NoSuchProcess):
            listening += [one.laddr for one in process.net_connections("all") if one.status == psutil.CONN_LISTEN]
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert len(listening) >= 2


def test_secrets_are_in_private_files_and_nowhere_else(stores: Stack) -> None:
    for name in ("pgpass", "s3-keys", "env"):
        assert stat.S_IMODE((stores.folder / name).stat().st_mode) == 0o600
    told = stores.start("--services", "postgres,s3")
    places = [told, (stores.folder / "env").read_text(), *(path.read_text() for path in stores.folder.glob("logs/*"))]
    for process in stores.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            places.append(" ".join(process.cmdline()))
    for secret in stores.secrets():
        assert len(secret) > 30
        assert not [place for place in places if secret in place]


def test_a_second_start_says_what_runs(stores: Stack) -> None:
    before = {one.pid for one in stores.processes()}
    told = stores.start("--services", "postgres,s3")
    assert "postgres runs already\ns3 runs already\n" in told
    assert f". {stores.folder}/env" in told
    assert {one.pid for one in stores.processes()} >= {pid for pid in before if psutil.pid_exists(pid)}
    assert stores.call("status").returncode == 3  # MLflow and the others do not run
    assert stores.call("status", "--services", "postgres,s3").returncode == 0


def test_a_server_that_was_killed_is_started_again_with_its_data(stores: Stack) -> None:
    url = stores.environment()["UNROLL_LEDGER_URL"].replace("postgresql+psycopg", "postgresql")
    passfile = str(stores.folder / "pgpass")
    with psycopg.connect(url, passfile=passfile) as connection:
        connection.execute("CREATE TABLE kept (x int)")
    with psycopg.connect(url, passfile=passfile) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        server = psutil.Process(row[0]).parent()
    assert server is not None
    server.kill()
    server.wait(180)

    told = stores.start("--services", "postgres,s3")

    assert "s3 runs already" in told
    assert "postgres runs already" not in told
    with psycopg.connect(url, passfile=passfile) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_a_wrong_password_is_refused(stores: Stack) -> None:
    url = stores.environment()["UNROLL_LEDGER_URL"].replace("postgresql+psycopg", "postgresql")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url, password="guess")  # noqa: S106 -- it is refused
    address = stores.environment()["AWS_ENDPOINT_URL"]
    with pytest.raises(PermissionError):
        s3fs.S3FileSystem(key="unroll", secret="guess", endpoint_url=address).ls("unroll")  # noqa: S106 -- it is refused


def test_a_postgresql_of_yours_is_used(stores: Stack, empty: Stack) -> None:
    port, secret = stores.environment()["UNROLL_LEDGER_URL"].rpartition(":")[2].partition("/")[0], stores.secrets()[1]
    url = f"postgresql://unroll:{secret}@127.0.0.1:{port}/postgres"

    done = empty.call("start", "--services", "postgres", UNROLL_POSTGRES_URL=url)

    assert done.returncode == 0, done.stderr
    assert secret not in done.stdout + (empty.folder / "env").read_text()
    assert not (empty.folder / "postgres").exists()
    mine = empty.environment()
    ledger = mine["UNROLL_LEDGER_URL"].replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(ledger, passfile=mine["PGPASSFILE"]) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("unroll_ledger",)
    wrong = empty.call("start", "--services", "postgres", UNROLL_POSTGRES_URL=url.replace(secret, "guess"))
    assert wrong.returncode == 2
    assert "PostgreSQL cannot be used" in wrong.stderr


def test_a_start_that_fails_leaves_nothing_behind(empty: Stack) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = empty.call("start", "--services", "postgres,s3,mlflow", "--mlflow-port", str(port))
    assert done.returncode == 2
    assert f"port {port} of 127.0.0.1, for mlflow, cannot be had" in done.stderr
    assert "Traceback" not in done.stderr
    assert empty.processes() == []


def test_an_interrupted_start_leaves_nothing_behind(empty: Stack) -> None:
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "UNROLL_", "AWS_"))}
    ports = ["--postgres-port", "0", "--s3-port", "0"]
    start = subprocess.Popen(
        [sys.executable, "-m", "stack", "start", "--state", str(empty.folder), "--services", "postgres,s3", *ports],
        cwd=Path(__file__).parents[2],
        env=mine,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 180
    while not (empty.folder / "s3.pid.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    start.send_signal(signal.SIGTERM)
    assert start.wait(180) == 130
    assert empty.processes() == []


def test_dvc_keeps_results_on_the_store(stores: Stack, tmp_path: Path) -> None:
    """Push, delete the cache and the results, pull: `dvc repro` has nothing to do."""
    repo, mine = tmp_path / "repo", os.environ | stores.environment() | {"DVC_NO_ANALYTICS": "1"}
    mine |= {
        "DVC_SITE_CACHE_DIR": str(tmp_path / "site"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    repo.mkdir()

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=repo, env=mine, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    run("git", "init", "--quiet")
    run("dvc", "init", "--quiet")
    # As docs/stack.md has it.
    run("dvc", "remote", "add", "--default", "stack", "s3://unroll/dvc")
    stage = {"cmd": "python make.py", "deps": ["make.py"], "outs": ["out", "big.bin"]}
    (repo / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"make": stage}}))
    # Larger than a part of an upload in parts.
    (repo / "make.py").write_text(
        "from pathlib import Path\nPath('out').mkdir()\nPath('out/a b.txt').write_text('one')\n"
        "Path('big.bin').write_bytes(bytes(range(256)) * 80_000)\n"
    )
    run("dvc", "repro")
    content = (repo / "big.bin").read_bytes()

    assert "3 files pushed" in run("dvc", "push")
    for name in (".dvc/cache", "out"):
        run("rm", "-r", name)
    (repo / "big.bin").unlink()
    run("dvc", "pull")

    assert (repo / "big.bin").read_bytes() == content
    assert (repo / "out/a b.txt").read_text() == "one"
    assert "Data and pipelines are up to date" in run("dvc", "repro")
