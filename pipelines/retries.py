"""Which tasks run again by themselves: those that a server's absence stopped, and no others."""

from collections.abc import Callable
from typing import Any, TypedDict

from unroll.errors import is_passing


class Retrying(TypedDict):
    """Arguments of Prefect's `task`."""

    retries: int
    retry_delay_seconds: list[float]
    retry_condition_fn: Callable[[Any, Any, Any], bool]


def is_worth_another_try(_task: Any, _task_run: Any, state: Any) -> bool:
    """Whether the failed task's error may pass; wrong data and wrong parameters fail again, and alike."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and (getattr(error, "passing", False) or is_passing(error))


AFTER_NETWORK_FAULTS = Retrying(retries=2, retry_delay_seconds=[10.0, 60.0], retry_condition_fn=is_worth_another_try)
"""For `@task(**AFTER_NETWORK_FAULTS)`."""
