"""The gates of promotion, which examine every bundle that is new after a training."""

import sys
from collections.abc import Sequence

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from pipelines.processes import Children
from pipelines.retries import RETRY_WHEN_UNAVAILABLE
from pipelines.summary import print_line
from unroll.errors import UNAVAILABLE_EXIT, ServiceUnavailable, UnrollError
from unroll.promotion import results


class GatesError(UnrollError):
    """The gates could not examine every new bundle."""


def run_gates() -> UnrollError | None:
    """Examine the new bundles, and publish the decisions as the table artifact `promotion`.

    Returns:
        What went wrong, if anything did: a failure here must not hide the results of the training.
    """
    names = results.undecided()
    if not names:
        return None
    print_line(f"The gates examine {len(names)} new model{'s' * (len(names) > 1)}")
    children = Children()
    try:
        examine(names, children)
    except (GatesError, ServiceUnavailable) as error:
        return error
    finally:
        children.stop()
        rows = [row for name in names if (verdict := results.decided(name)) for row in verdict.rows()]
        if rows:
            create_table_artifact(key="promotion", table=rows, description="What the gates decided of each new model")
    return None


@task(name="gates", cache_policy=NO_CACHE, **RETRY_WHEN_UNAVAILABLE)
def examine(names: Sequence[str], children: Children) -> None:
    """Run `unroll models gate` in a process, and print and log its output line by line.

    Raises:
        ServiceUnavailable: The registry was away; another attempt may succeed.
        GatesError: The command failed for another reason.
    """
    logger = get_run_logger()

    def report(line: str) -> None:
        print_line(f"gates | {line}")
        logger.info(line)

    command = [sys.executable, "-m", "unroll.cli", "models", "gate", "--no-table", *names]
    status, last = children.run(command, report)
    if status != 0:
        kind = ServiceUnavailable if status == UNAVAILABLE_EXIT else GatesError
        message = f"the gates failed (exit status {status}); trained models are kept, and the next run asks again:"
        raise kind("\n    ".join([message, *last]))
