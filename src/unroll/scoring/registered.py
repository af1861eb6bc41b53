"""Scoring jobs and back-tests in MLflow."""

from pathlib import Path

from unroll.scoring.job import find_model
from unroll.scoring.report import JobReport


def log_job(report: JobReport, page: Path | None, kind: str = "scoring") -> None:
    """Log a job to MLflow: counts, drift with its page, and a table of its files; `kind` becomes its tag.

    Raises:
        TrackingError: The MLflow store cannot be used.
    """
    from unroll.tracking.live import log_live

    log_live(
        f"score {report.model_version}",
        str(report.model_version),
        report.metrics(),
        registered=report.registered,
        tags={"unroll.live": kind} | ({"unroll.drift": report.drift.verdict()} if report.drift else {}),
        files=[page] if page else [],
        texts={"files.csv": report.to_csv()},
    )


def backtest(
    predictions: Path,
    truth: Path,
    *,
    column: str | None = None,
    model: str | None = None,
    shadow: Path | None = None,
) -> list[str]:
    """Compare predictions with the truth, log the metrics to MLflow, and return the report's lines.

    `model` is the address of the model, for predictions that name none. For the rest see `compare_with_truth`.

    Raises:
        DataError: The files cannot be read or compared.
        TrackingError: The MLflow store cannot be used.
    """
    from unroll.inference.bundle import load_bundle
    from unroll.scoring.backtest import compare_with_truth
    from unroll.tracking.live import EXPERIMENT, log_live

    card = load_bundle(find_model(model)[0]).card if model else None
    report = compare_with_truth(predictions, truth, column=column, card=card, shadow=shadow)
    for one in report.live:
        log_live(
            f"backtest {one.version}",
            one.version,
            one.metrics(),
            registered=one.about.get("registered"),
            tags={"unroll.live": "backtest", "unroll.task": one.about["task"]["name"]},
        )
    return [*report.lines(), f"logged to MLflow's experiment {EXPERIMENT}"]
