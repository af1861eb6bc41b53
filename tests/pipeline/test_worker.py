"""Runs that a stopped worker has left, on a real Prefect server; test_serve.py has a real worker."""

import json
import subprocess
import sys

import pytest
from flow_processes import ROOT

pytestmark = pytest.mark.slow

# In a process of its own, because importing the flows changes Prefect's settings.
SCRIPT = """
import json
from pipelines import worker
from prefect import flow, get_client, states
from prefect.client.schemas.objects import WorkerStatus

@flow
def unfinished(): ...

with get_client(sync_client=True) as client:
    worker.prepare_pool(client)
    worker.prepare_pool(client)
    runs = [
        client.create_flow_run(unfinished, work_pool_name=worker.POOL, state=state)
        for state in (states.Pending(), states.Running(), states.Cancelling(), states.Scheduled(), states.Completed())
    ]
    client.send_worker_heartbeat(worker.POOL, "other", heartbeat_interval_seconds=1)
    left = worker.crash_orphaned_runs(client, "mine")
    crashed = worker.crash_orphaned_runs(client, "other")
    names = [client.read_flow_run(run.id).state_name for run in runs]
    print(json.dumps([client.read_work_pool(worker.POOL).concurrency_limit, left, crashed, names]))
"""


def test_unfinished_runs_crash_unless_another_worker_may_execute_them(prefect_server):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=prefect_server.environment(ROOT),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    limit, left, crashed, names = json.loads(done.stdout.splitlines()[-1])
    assert (limit, left, crashed) == (1, 0, 3)
    assert names == ["Crashed", "Crashed", "Crashed", "Scheduled", "Completed"]
