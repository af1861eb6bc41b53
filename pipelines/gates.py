"""MLflow in the training flow: its store, and the gates of promotion, which examine every bundle that is new."""

import contextlib
from collections.abc import Collection, Sequence

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from pipelines.schedule import RETRY_WHEN_UNAVAILABLE
from pipelines.summary import print_line
from unroll import tracking
from unroll.errors import UnrollError
from unroll.promotion import results
from unroll.redaction import redacted


def open_store_early(stages: Collection[str]) -> None:
    """Begin to open the MLflow store if one of the stages is `train`.

    A new store creates its tables, for which the first `train` would wait. The gates import MLflow here anyway.
    """
    if any(stage.startswith("train@") for stage in stages):
        open_store.submit(return_state=False)


@task(name="open-store", cache_policy=NO_CACHE)
def open_store() -> None:
    """Open the MLflow store, and leave it to the stages `train` to report that it cannot be used."""
    with contextlib.suppress(UnrollError), tracking.open_store():
        pass


def run_gates(only: Collection[str] | None = None) -> UnrollError | None:
    """Examine the new bundles, of these experiments or of all, and publish the decisions as the artifact `promotion`.

    Returns:
        What went wrong, if anything did: a failure here must not hide the results of the stages.
    """
    names = results.unexamined(only)
    to_send = tracking.unsent(only or results.exported())
    if not names and not to_send:
        return None
    if names:
        print_line(f"The gates examine {len(names)} new model{'s' * (len(names) > 1)}")
    try:
        examine(names, to_send)
    except UnrollError as error:
        return type(error)(f"the gates failed; trained models are kept, and the next run asks again: {error}")
    finally:
        if verdicts := [verdict for name in names if (verdict := results.decided(name))]:
            create_table_artifact(key="promotion", table=results.table(verdicts), description=results.TITLE)
    return None


@task(name="gates", cache_policy=NO_CACHE, **RETRY_WHEN_UNAVAILABLE)
def examine(names: Sequence[str], to_send: Sequence[str]) -> None:
    """Send results that the stage `compare` has not sent, run the gates, and print and log a line per experiment.

    DVC skips `compare` where the leaderboard stays as it is, and it does not run for some experiments only.

    Raises:
        ServiceUnavailable: The registry was unavailable; another attempt may succeed.
        UnrollError: A result or the store cannot be used.
    """
    # Imported here: this takes seconds, and most runs have nothing new.
    from unroll.promotion import promote

    def report(line: str) -> None:
        print_line(f"gates | {line}")
        get_run_logger().info(redacted(line))

    try:
        tracking.send_results(to_send)
        if names:
            promote.gate(names, report)
    except UnrollError as error:
        # Prefect keeps the message and the causes of what a task raises.
        raise type(error)(redacted(str(error))) from None
