"""Where the drift of a scoring run is shown: Prefect's artifacts, a page, and MLflow."""

from collections.abc import Callable

from prefect.artifacts import create_link_artifact, create_table_artifact

from unroll.errors import ServiceUnavailable, TrackingError
from unroll.scoring.drift_page import write_page
from unroll.scoring.report import JobReport
from unroll.tracking.live import log_live


def show_drift(report: JobReport, tell: Callable[[str], None]) -> None:
    """Shows what a run's rows and predictions look like beside those of training; of no rows, nothing.

    A store that is away is told of and costs nothing else: the rows are scored, and the page holds the same figures.

    Args:
        report: Of the run.
        tell: Shows a line.
    """
    drift = report.drift
    if not drift or not drift.rows:
        return
    verdict, page = drift.verdict(), write_page(drift)
    tell(f"{verdict}; see {page}")
    create_table_artifact(key="drift", table=drift.table(), description=verdict)
    create_link_artifact(key="drift-page", link=page.resolve().as_uri(), link_text=page.name, description=verdict)
    try:
        log_live(
            f"drift {drift.model_version}",
            drift.model_version,
            drift.metrics(),
            registered=report.registered,
            tags={"unroll.live": "drift", "unroll.drift": verdict},
            files=[page],
        )
    except (ServiceUnavailable, TrackingError) as error:
        tell(f"drift is not in MLflow: {error}")
