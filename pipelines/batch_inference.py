"""The scoring flow: score each new file of the inbox exactly once, with one model and perhaps a shadow of it."""

import math
import sys
import threading
import time
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Completed

from pipelines.alerts import emit_events
from pipelines.processes import Children
from pipelines.schedule import RETRY_WHEN_UNAVAILABLE, SCORE_SECONDS, cancel_other_due_runs, require_server
from pipelines.summary import print_line
from unroll.config.reading import load_all
from unroll.config.scoring import Scoring
from unroll.errors import UNAVAILABLE_EXIT, ServiceUnavailable, TrackingError, UnrollError
from unroll.redaction import escape_what_the_terminal_lacks, redacted
from unroll.scoring.drift_page import write_page
from unroll.scoring.job import score_inbox
from unroll.scoring.registered import log_job
from unroll.scoring.report import JobReport

RETRAIN = "Retrain: "
"""Begins the message of the state Drifted where drift.retrain is set; the trigger in prefect.yaml looks for it."""
_SECONDS_TO_END = 120.0
"""Of the flow's time limit, what it takes to stop the shadow and to end."""


@flow(name="score", timeout_seconds=SCORE_SECONDS)
def score() -> State[Any]:
    """Score the inbox with the model that params.yaml names under `scoring`; raise what `score_inbox` raises.

    A file that cannot be scored does not fail the run: it is reported, and the others are scored. If the program or
    the model fails on a file, the run fails after the last file.

    Returns:
        The state Completed, named Drifted if rows or predictions no longer resemble those of training.
    """
    began = time.monotonic()
    cancel_other_due_runs()
    scoring = load_all().scoring
    report = score_new_files(scoring)
    show(report)
    report.require_no_failure()
    if scoring.shadow:
        score_with_shadow(min(scoring.shadow.seconds, seconds_left(began)))
    if report.drift and report.drift.drifted:
        wish = RETRAIN if scoring.drift.retrain else ""
        return Completed(name="Drifted", message=f"{wish}{report.drift.verdict()}")
    return Completed(message=report.summary())


@task(name="score-new-files", cache_policy=NO_CACHE, **RETRY_WHEN_UNAVAILABLE)
def score_new_files(scoring: Scoring) -> JobReport:
    """Score every file that was not scored before.

    If an attempt breaks off, its results are shown at once: the next attempt skips the files that are done.
    """
    try:
        return score_inbox(scoring, on_file=lambda file: report_line(str(file)), on_stop=show)
    except UnrollError as error:
        # Prefect keeps the message and the causes of what a task raises.
        raise type(error)(redacted(str(error))) from None


def seconds_left(began: float) -> float:
    """Return the seconds until the flow, which began at this time of `time.monotonic`, has to end the shadow."""
    context = FlowRunContext.get()
    limit = context.flow.timeout_seconds if context and context.flow else None
    return math.inf if limit is None else began + limit - _SECONDS_TO_END - time.monotonic()


@task(name="score-with-shadow", cache_policy=NO_CACHE)
def score_with_shadow(seconds: float) -> None:
    """Let the shadow score the same files, in a process that may fail or be killed: nothing depends on it."""
    if seconds <= 0:
        report_line("no time is left for the shadow; the next run goes on")
        return
    children, outcome = Children(), ""
    timer = threading.Timer(seconds, children.stop)
    timer.start()
    try:
        command = [sys.executable, "-m", "unroll.cli", "score", "--shadow"]
        code, _ = children.run(command, lambda line: report_line(f"shadow: {line}"))
        outcome = f"ended with exit code {code}" if code else ""
    except OSError as error:
        outcome = f"did not start: {error}"
    finally:
        timer.cancel()
        stopped = children.stopped
        children.stop()
    if stopped:
        outcome = f"was stopped after {seconds:g} s"
    if outcome:
        report_line(f"the shadow {outcome}; the next run goes on")


def show(report: JobReport) -> None:
    """Show files, totals and drift, emit events of them, and log them to MLflow if something was scored."""
    report_line(report.summary())
    create_table_artifact(key="scored-files", table=report.lines(), description=report.summary())
    emit_events(report)
    if not report.of("scored"):
        return
    page = None
    if report.drift:
        verdict, page = report.drift.verdict(), write_page(report.drift)
        create_table_artifact(key="drift", table=report.drift.table(), description=verdict)
        create_link_artifact(key="drift-page", link=page.resolve().as_uri(), link_text=page.name, description=verdict)
        report_line(f"{verdict}; see {page}")
    try:
        log_job(report, page)
    except (ServiceUnavailable, TrackingError) as error:
        report_line(f"the job is not in MLflow: {error}")


def report_line(text: str) -> None:
    """Print a line, and log it to Prefect."""
    text = redacted(text)
    print_line(text)
    get_run_logger().info(text)


def main() -> int:
    """Run the flow once, without a time limit.

    Returns:
        Exit code: 0; 2 if a parameter, the model or a file is at fault; 75 if a server is not available.
    """
    escape_what_the_terminal_lacks()
    try:
        require_server()
        score.with_options(timeout_seconds=0)()
    except UnrollError as error:
        print(redacted(f"error: {error}"), file=sys.stderr)
        return UNAVAILABLE_EXIT if isinstance(error, ServiceUnavailable) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
