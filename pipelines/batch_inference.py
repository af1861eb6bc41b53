"""The scoring flow: what is new in data/inbox/, each file exactly once, with one model."""

import sys

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from pipelines.dvc_stages import say
from unroll import params, paths
from unroll.errors import UnrollError
from unroll.inference.inbox import InboxReport, score_new
from unroll.params import Scoring


@flow(name="score")
def score() -> None:
    """Scores the inbox with the bundle that params.yaml names under `scoring`.

    A file that had to be set aside does not fail the run: it is reported, and the others are scored.

    Raises:
        ParameterError: params.yaml has faults.
        BundleError: The bundle is missing, incomplete or altered.
    """
    scoring = params.load_all().scoring
    report = score_new_files(scoring)
    lines = report.lines()
    tell(lines, report.model_version)
    create_table_artifact(key="scored-files", table=lines, description=f"Scored with {report.model_version}")


@task(name="score-new-files", cache_policy=NO_CACHE)
def score_new_files(scoring: Scoring) -> InboxReport:
    """Scores every file that was not scored before; the ledger knows which those are."""
    return score_new(scoring)


def tell(lines: list[dict[str, str]], model_version: str) -> None:
    """Shows one line a file, in the terminal and in Prefect's log."""
    logger = get_run_logger()
    for line in lines:
        text = f"{line['file']}: {line['state']}: {line['what']}"
        say(text)
        logger.info(text)
    if not lines:
        say(f"Nothing new in {paths.INBOX} for {model_version}")


def main() -> int:
    """Runs the flow once.

    Returns:
        Exit status: 0, or 2 where nothing could be scored.
    """
    try:
        score()
    except UnrollError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
