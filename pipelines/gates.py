"""The gates after training: one process asks them for every bundle that none has seen, and moves aliases."""

import sys
import threading
from collections import deque
from collections.abc import Sequence

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from pipelines.dvc_stages import KEPT_ERROR_LINES, say
from pipelines.processes import Children
from pipelines.retries import AFTER_NETWORK_FAULTS
from unroll.errors import PASSING_EXIT, UnrollError
from unroll.promotion import results


class GatesError(UnrollError):
    """The gates could not be asked; what was trained is kept, and the next run asks again.

    Attributes:
        passing: Whether a server was away, so that another try may succeed.
    """

    def __init__(self, exit_status: int, lines: Sequence[str]) -> None:
        self.passing = exit_status == PASSING_EXIT
        what = (
            f"the gates could not be asked (exit status {exit_status}), so not all that is new was examined. What was "
            "trained is kept; `unroll models gate` or the next run asks again:"
        )
        super().__init__("\n    ".join([what, *lines]))


def gate_new_models() -> GatesError | None:
    """Asks the gates for each bundle that none has seen, and keeps the answers as the table artifact `promotion`.

    Returns:
        What went wrong, if anything did: it must not cost what was trained.
    """
    names = results.undecided()
    if not names:
        return None
    say(f"Asking the gates for {len(names)} new model{'s' * (len(names) > 1)}")
    children = Children()
    try:
        ask_gates(names, children)
    except GatesError as error:
        return error
    finally:
        children.stop()
        rows = [row for name in names if (verdict := results.decided(name)) for row in verdict.rows()]
        if rows:
            create_table_artifact(key="promotion", table=rows, description="What the gates say of each new model")
    return None


@task(name="ask-gates", cache_policy=NO_CACHE, **AFTER_NETWORK_FAULTS)
def ask_gates(names: Sequence[str], children: Children) -> None:
    """Runs `unroll models gate`, and shows its output line by line.

    Raises:
        GatesError: It failed.
    """
    logger = get_run_logger()
    errors: deque[str] = deque(maxlen=KEPT_ERROR_LINES)
    command = [sys.executable, "-m", "unroll.cli", "models", "gate", "--no-table", *names]
    with children.start(command) as process:
        reader = threading.Thread(target=lambda: errors.extend(map(str.rstrip, process.stderr or ())), daemon=True)
        reader.start()
        for line in process.stdout or ():
            say(f"gates | {line.rstrip()}")
            logger.info(line.rstrip())
        reader.join()
        status = process.wait()
    if status != 0:
        raise GatesError(status, errors)


def show_promotion() -> None:
    """Prints what the gates said of the bundles that are there."""
    verdicts = [verdict for name in results.exported() if (verdict := results.decided(name))]
    if verdicts:
        results.show(verdicts)
