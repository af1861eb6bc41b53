"""Set up alerts, deploy prefect.yaml and start a worker: `python -m pipelines.worker [OPTION OF prefect worker start]`.

PREFECT_API_URL names the server, UNROLL_ALERT_URL where alerts go. A worker that is stopped leaves its runs Pending,
Running or Cancelling; each of them would keep its slot of the work pool for good. So runs that no worker executes any
more become Crashed first.
"""

import os
import socket
import subprocess
import sys
import time

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
from prefect.client.schemas.objects import WorkerStatus
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed
from prefect.workers.process import ProcessWorker

from pipelines import alerts
from pipelines.summary import print_line
from unroll.errors import UNAVAILABLE_EXIT, ServiceUnavailable, UnrollError
from unroll.redaction import redacted

POOL = "unroll"
SECONDS_TO_ANSWER = 300.0
"""The first start of a server creates its database."""


def main(options: list[str]) -> None:
    """Prepare the work pool, deploy, and replace this process by the worker."""
    name = socket.gethostname()
    with get_client(sync_client=True) as client:
        wait_for_server(client)
        prepare_pool(client)
        if (address := os.environ.get(alerts.ADDRESS)) is not None:
            alerts.set_up(client, address)
        crash_orphaned_runs(client, name)
    prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
    done = subprocess.run([*prefect, "deploy", "--all"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"error: prefect.yaml cannot be deployed:\n{done.stdout}{done.stderr}")
    os.execv(sys.executable, [*prefect, "worker", "start", "--pool", POOL, "--name", name, *options])  # noqa: S606 -- this Python


def wait_for_server(client: SyncPrefectClient) -> None:
    """Wait until the server answers.

    Raises:
        ServiceUnavailable: It does not answer in time.
    """
    deadline = time.monotonic() + SECONDS_TO_ANSWER
    while error := client.api_healthcheck():
        if time.monotonic() > deadline:
            raise ServiceUnavailable(f"the Prefect server at {client.api_url} does not answer; start it: {error!r}")
        time.sleep(0.5)


def prepare_pool(client: SyncPrefectClient) -> None:
    """Create the work pool where it is missing. It runs one flow at a time: training and scoring share the machine."""
    try:
        client.read_work_pool(POOL)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=POOL, type=ProcessWorker.type, base_job_template=template))
        client.update_work_pool(POOL, WorkPoolUpdate(concurrency_limit=1))


def crash_orphaned_runs(client: SyncPrefectClient, name: str) -> int:
    """Set the pool's unfinished runs to Crashed, unless another worker may be executing them; return their number.

    A worker of the same name that was online a moment ago was replaced by the one that is about to start.
    """
    workers = client.read_workers_for_work_pool(POOL)
    others = [worker.name for worker in workers if worker.status == WorkerStatus.ONLINE and worker.name != name]
    if others:
        print_line(f"Unfinished runs are left alone: they may be executed by {', '.join(others)}")
        return 0
    unfinished = FlowRunFilter.model_validate({"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}})
    pool = WorkPoolFilter.model_validate({"name": {"any_": [POOL]}})
    runs = client.read_flow_runs(flow_run_filter=unfinished, work_pool_filter=pool)
    for run in runs:
        client.set_flow_run_state(run.id, Crashed(message="Its worker was stopped while it ran"), force=True)
        print_line(f"{run.name} was {run.state_name} without a worker; it is Crashed now")
    return len(runs)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UnrollError as error:
        print(redacted(f"error: {error}"), file=sys.stderr)
        sys.exit(UNAVAILABLE_EXIT if isinstance(error, ServiceUnavailable) else 2)
