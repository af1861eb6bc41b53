"""Where the drift of a scoring job is shown: Prefect's artifacts and a page."""

from pathlib import Path

from prefect.artifacts import create_link_artifact, create_table_artifact

from unroll.scoring.drift import DriftReport
from unroll.scoring.drift_page import write_page


def show_drift(drift: DriftReport) -> Path:
    """Write the drift page of a job, and show its table and a link to it in Prefect."""
    verdict, page = drift.verdict(), write_page(drift)
    create_table_artifact(key="drift", table=drift.table(), description=verdict)
    create_link_artifact(key="drift-page", link=page.resolve().as_uri(), link_text=page.name, description=verdict)
    return page
