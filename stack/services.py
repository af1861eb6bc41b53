"""What each server is started with, and how one sees that it is up."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import requests

from stack import postgres, processes
from stack.state import BUCKET, HOST, StackError, State, check_port

ROOT = Path(__file__).resolve().parent.parent
POOL = "unroll"
STEPS = (("postgres", "s3"), ("mlflow", "prefect"), ("worker",))
"""The services in the order in which they are started; they are stopped the other way round. Within a step, none waits
for another."""
ORDER = tuple(service for step in STEPS for service in step)

_FOREIGN = ("MLFLOW_", "PREFECT_", "AWS_", "PG", "NANIO_", "UNROLL_")


def environment(state: State, **more: str) -> dict[str, str]:
    """For a process of the stack: what the shell has set for other servers is left out."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    programs = str(Path(sys.executable).parent)
    return {
        **mine,
        "PATH": os.pathsep.join([programs, os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        "DO_NOT_TRACK": "1",
        **state.environment(),
        **more,
    }


def start_postgres(state: State) -> None:
    """Starts PostgreSQL, unless it is a server of yours, and makes the databases."""
    if state.external is None:
        check_port("postgres", state.ports["postgres"])
        command = postgres.prepare(state)
        processes.start(state, "postgres", command, environment(state), state.folder / "postgres", postgres.user())
        processes.wait_until(state, "postgres", lambda: postgres.is_up(state))
    postgres.make_databases(state)


def start_s3(state: State) -> None:
    """Starts the S3-compatible store, and makes the bucket."""
    check_port("s3", state.ports["s3"])
    key, secret = state.s3_key()
    place = state.folder / "s3"
    command = [sys.executable, "-m", "nanio", "serve", "--host", HOST, "--port", str(state.ports["s3"])]
    command += ["--data-dir", str(place), "--no-access-log", "--log-level", "warning"]
    keys = {"NANIO_ACCESS_KEY": key, "NANIO_SECRET_KEY": secret}
    processes.start(state, "s3", command, environment(state, **keys), state.folder)
    processes.wait_until(state, "s3", lambda: _answers(state.address("s3")))
    _make_bucket(state)


def start_mlflow(state: State) -> None:
    """Starts MLflow's server: runs in PostgreSQL, files in the store; clients need to reach neither of the two."""
    check_port("mlflow", state.ports["mlflow"])
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(state.ports["mlflow"])]
    command += ["--workers", "1"]
    settings = {
        "MLFLOW_BACKEND_STORE_URI": state.postgres("mlflow"),
        "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{BUCKET}/mlflow",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    mine = environment(state, **settings)
    del mine["MLFLOW_TRACKING_URI"]  # that of its clients
    processes.start(state, "mlflow", command, mine, state.folder)
    processes.wait_until(state, "mlflow", lambda: _is_well(f"{state.address('mlflow')}/health"), 300)


def start_prefect(state: State) -> None:
    """Starts Prefect's server."""
    check_port("prefect", state.ports["prefect"])
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST]
    command += ["--port", str(state.ports["prefect"])]
    settings = {
        "PREFECT_HOME": str(state.folder / "prefect"),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": state.postgres("prefect", "asyncpg"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Where the pages look for it; by itself that is the usual port, whatever the command line says.
        "PREFECT_SERVER_UI_API_URL": f"{state.address('prefect')}/api",
    }
    mine = environment(state, **settings)
    del mine["PREFECT_API_URL"]
    processes.start(state, "prefect", command, mine, state.folder)
    processes.wait_until(state, "prefect", lambda: _is_well(f"{state.address('prefect')}/api/health"), 300)


def start_worker(state: State, workplace: Path) -> None:
    """Deploys the workplace's prefect.yaml, and starts the worker that runs it.

    Args:
        state: Of the stack; Prefect's server is up.
        workplace: The folder of prefect.yaml, params.yaml and pipelines/.

    Raises:
        StackError: prefect.yaml is not accepted, or the worker does not report.
    """
    api = f"{state.address('prefect')}/api"
    mine = environment(state, PREFECT_HOME=str(state.folder / "prefect"))
    prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
    if requests.get(f"{api}/work_pools/{POOL}", timeout=180).status_code == requests.codes.not_found:
        _run([*prefect, "work-pool", "create", POOL, "--type", "process"], mine, workplace)
    # Training and scoring share the machine, the data and the models: one at a time.
    answer = requests.patch(f"{api}/work_pools/{POOL}", json={"concurrency_limit": 1}, timeout=180)
    answer.raise_for_status()
    _run([*prefect, "deploy", "--all"], mine, workplace)
    command = [*prefect, "worker", "start", "--pool", POOL, "--name", "stack"]
    processes.start(state, "worker", command, mine, workplace)
    processes.wait_until(state, "worker", lambda: _worker_reports(api), 300)


def _worker_reports(api: str) -> bool:
    try:
        answer = requests.post(f"{api}/work_pools/{POOL}/workers/filter", json={}, timeout=30)
        answer.raise_for_status()
    except requests.RequestException:
        # Of a server that is busy with what was just deployed; the caller asks again.
        return False
    return any(one["name"] == "stack" and one["status"] == "ONLINE" for one in answer.json())


def _answers(address: str) -> bool:
    """Whether somebody speaks HTTP there, whatever is said."""
    try:
        requests.get(address, timeout=5)
    except requests.RequestException:
        return False
    return True


def _is_well(address: str) -> bool:
    try:
        return requests.get(address, timeout=5).ok
    except requests.RequestException:
        return False


def _make_bucket(state: State) -> None:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    key, secret = state.s3_key()
    client = boto3.client(
        "s3",
        endpoint_url=state.address("s3"),
        region_name=state.environment()["AWS_DEFAULT_REGION"],
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )
    try:
        if BUCKET not in {one["Name"] for one in client.list_buckets()["Buckets"]}:
            client.create_bucket(Bucket=BUCKET)
    except (BotoCoreError, ClientError) as error:
        raise StackError(f"the store at {state.address('s3')} refuses the bucket {BUCKET}: {error}") from None


def _run(command: list[str], environment: Mapping[str, str], folder: Path) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-20:])
        raise StackError(f"`{' '.join(command[1:])}` in {folder} failed (exit status {done.returncode}):\n{said}")


STARTS: Mapping[str, Callable[[State, Path], None]] = {
    "postgres": lambda state, _: start_postgres(state),
    "s3": lambda state, _: start_s3(state),
    "mlflow": lambda state, _: start_mlflow(state),
    "prefect": lambda state, _: start_prefect(state),
    "worker": start_worker,
}
"""Service -> what starts it and returns once it is up."""
