"""What holds for runs that a schedule starts: none of them piles up behind another."""

from datetime import UTC, datetime

from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled

TRAIN_SECONDS = 12 * 60 * 60
"""A scheduled training that takes longer is stopped; what is done is kept, and the next one goes on from there."""
SCORE_SECONDS = 3 * 60 * 60
"""A scheduled scoring that takes longer is stopped; the next one scores the rest."""


def drop_others_that_are_due() -> int:
    """Cancels the scheduled runs of this deployment that are due as well: this run does their work.

    They come due while the worker is away, or while the work pool's one place is taken. Runs that a person or an
    automation asked for stay.

    Returns:
        How many; 0 where no deployment started this run.
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
            client.set_flow_run_state(run.id, Cancelled(message=f"Its work is done by {flow_run.name}, which was late"))
    return len(others)
