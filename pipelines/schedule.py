"""What flows ask of Prefect: that its server answers, time limits, cancellation of runs that pile up, and retries."""

from datetime import UTC, datetime
from typing import Any

from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.runtime import deployment, flow_run
from prefect.settings import get_current_settings
from prefect.states import Cancelled

from unroll.errors import ServiceUnavailable

TRAIN_SECONDS = 12 * 60 * 60
"""A scheduled training that takes longer is stopped; the next one continues from there."""
SCORE_SECONDS = 3 * 60 * 60
"""A scheduled scoring that takes longer is stopped; the next one scores the rest."""


def may_succeed_later(_task: Any, _task_run: Any, state: Any) -> bool:
    """Return whether a server was unavailable. Faults of data, parameters or code would only repeat themselves."""
    return isinstance(state.result(raise_on_failure=False), ServiceUnavailable)


RETRY_WHEN_UNAVAILABLE: dict[str, Any] = {
    "retries": 2,
    "retry_delay_seconds": [10.0, 60.0],
    "retry_condition_fn": may_succeed_later,
}
"""Arguments of Prefect's `task`."""


def require_server() -> None:
    """Check that the Prefect server that a setting names answers; without such a setting, a flow starts one.

    Raises:
        ServiceUnavailable: It does not answer.
    """
    address = get_current_settings().api.url
    if address is None:
        return
    with get_client(sync_client=True) as client:
        if error := client.api_healthcheck():
            reason = " ".join(str(error).split())
            raise ServiceUnavailable(
                f"the Prefect server at {address} does not answer ({reason}). Start it, correct PREFECT_API_URL, "
                "or unset it to start one for the run"
            )


def cancel_other_due_runs() -> int:
    """Cancel the other scheduled runs of this deployment that are due, and return their number.

    Runs come due while no worker runs or the work pool has no free slot. Those that a person or an automation
    created are kept.
    """
    if deployment.id is None:
        return 0
    due = FlowRunFilter.model_validate(
        {
            "deployment_id": {"any_": [deployment.id]},
            "state": {"type": {"any_": ["SCHEDULED"]}},
            "expected_start_time": {"before_": datetime.now(UTC)},
        }
    )
    with get_client(sync_client=True) as client:
        others = [run for run in client.read_flow_runs(flow_run_filter=due) if run.auto_scheduled]
        for run in others:
            client.set_flow_run_state(run.id, Cancelled(message=f"The late run {flow_run.name} did its work"))
    return len(others)
