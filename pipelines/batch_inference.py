"""The scoring flow: what is new in the inbox, each file exactly once, with one model."""

import sys
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed

from pipelines.drift import show_drift
from pipelines.retries import RETRY_WHEN_UNAVAILABLE
from pipelines.schedule import SCORE_SECONDS, cancel_other_due_runs
from pipelines.summary import print_line
from unroll.config.reading import load_all
from unroll.config.scoring import Scoring
from unroll.errors import PASSING_EXIT, UnrollError, is_passing
from unroll.scoring.registered import score_new
from unroll.scoring.report import FileReport, JobReport

RETRAIN = "Retrain: "
"""Begins the message of the state Drifted where drift.retrain is set; the trigger in prefect.yaml looks for it."""


@flow(name="score", timeout_seconds=SCORE_SECONDS)
def score() -> State[Any]:
    """Scores the inbox with the model that params.yaml names under `scoring`.

    A file that had to be set aside does not fail the run: it is reported, and the others are scored. One at which the
    program or the model failed does, at the end.

    Returns:
        Completed; its name is Drifted where rows or predictions are no longer like those of training.

    Raises:
        ParameterError: params.yaml has faults.
        TrackingError: The registry does not have the model, or is away.
        BundleError: The bundle is missing, incomplete or altered.
        UnrollError: Another job holds the lock, the ledger or a place cannot be used, or scoring failed at a file.
    """
    cancel_other_due_runs()
    scoring = load_all().scoring
    report = score_new_files(scoring)
    show(report)
    report.require_no_failure()
    if report.drift and report.drift.drifted:
        wish = RETRAIN if scoring.drift.retrain else ""
        return Completed(name="Drifted", message=f"{wish}{report.drift.verdict()}")
    return Completed(message=report.summary())


@task(name="score-new-files", cache_policy=NO_CACHE, **RETRY_WHEN_UNAVAILABLE)
def score_new_files(scoring: Scoring) -> JobReport:
    """Scores every file that was not scored before; the ledger knows which those are.

    What a try has done that breaks off is shown by itself: to the next one, its files are known.
    """
    return score_new(scoring, tell_file, show)


def show(report: JobReport) -> None:
    """Shows files, sums and drift."""
    tell(report.summary())
    create_table_artifact(key="scored-files", table=report.lines(), description=report.summary())
    show_drift(report, tell)


def tell_file(file: FileReport) -> None:
    """Shows one line for a file."""
    tell("{file}: {state}: {what}".format(**file.line()))


def tell(text: str) -> None:
    """Shows a line in the terminal and in Prefect's log."""
    print_line(text)
    get_run_logger().info(text)


def main() -> int:
    """Runs the flow once.

    Returns:
        Exit status: 0; 2 where nothing could be scored; 75 where a server was away, so that it may work later.
    """
    try:
        # By hand, it may take as long as it takes.
        score.with_options(timeout_seconds=0)()
    except UnrollError as error:
        print(f"error: {error}", file=sys.stderr)
        return PASSING_EXIT if is_passing(error) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
