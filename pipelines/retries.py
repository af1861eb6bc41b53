"""Which tasks are retried: those that failed because a server was away, and no others."""

from collections.abc import Callable
from typing import Any, TypedDict

from unroll.errors import ServiceUnavailable


class Retries(TypedDict):
    """Arguments of Prefect's `task`."""

    retries: int
    retry_delay_seconds: list[float]
    retry_condition_fn: Callable[[Any, Any, Any], bool]


def may_succeed_later(_task: Any, _task_run: Any, state: Any) -> bool:
    """Return whether a server was away. Faults of data, parameters or code would only repeat themselves."""
    return isinstance(state.result(raise_on_failure=False), ServiceUnavailable)


RETRY_WHEN_UNAVAILABLE = Retries(retries=2, retry_delay_seconds=[10.0, 60.0], retry_condition_fn=may_succeed_later)
"""For `@task(**RETRY_WHEN_UNAVAILABLE)`."""
