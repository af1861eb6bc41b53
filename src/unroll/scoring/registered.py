"""Scoring and back-tests with models of MLflow's registry, reported to MLflow."""

from collections.abc import Callable
from pathlib import Path

from unroll.config.scoring import Scoring
from unroll.scoring.job import Model, folder_model, score_inbox
from unroll.scoring.report import FileReport, JobReport


def score_new(
    scoring: Scoring, on_file: Callable[[FileReport], None], on_stop: Callable[[JobReport], None]
) -> JobReport:
    """Score the new files of the inbox, as `unroll score` and the flow do; see `score_inbox`."""
    return score_inbox(scoring, resolve=find_model, on_file=on_file, on_stop=on_stop)


def find_model(address: str) -> Model:
    """Return the model in a folder, or the registered one of an address that begins with `models:/`.

    Raises:
        ServiceUnavailable, TrackingError: The registry has no such model, or cannot be used.
    """
    if not address.startswith("models:/"):
        return folder_model(address)
    from unroll.tracking import registry

    found = registry.resolve(address)
    return Model(found.folder, {"name": found.name, "version": found.version, "run_id": found.run_id})


def log_job(report: JobReport, page: Path | None) -> None:
    """Log a job to MLflow: counts, drift, and a table of its files.

    Args:
        report: The job's.
        page: Its drift page.

    Raises:
        TrackingError: The MLflow store cannot be used.
    """
    from unroll.tracking.live import log_live

    log_live(
        f"score {report.model_version}",
        str(report.model_version),
        report.metrics(),
        registered=report.registered,
        tags={"unroll.live": "scoring"} | ({"unroll.drift": report.drift.verdict()} if report.drift else {}),
        files=[page] if page else [],
        texts={"files.csv": report.to_csv()},
    )


def backtest(predictions: Path, truth: Path, *, column: str | None = None, model: str | None = None) -> list[str]:
    """Compare predictions with the truth, log the metrics to MLflow, and return the report's lines.

    Args:
        predictions: A file that unroll wrote, or a folder of such.
        truth: Parquet or CSV with `row_id` and the true values, or a folder of such.
        column: The column of true values.
        model: Address of the model, for predictions that name none.

    Raises:
        DataError: The files cannot be read or compared.
        TrackingError: The MLflow store cannot be used.
    """
    from unroll.inference.bundle import load_bundle
    from unroll.scoring.backtest import compare_with_truth
    from unroll.tracking.live import EXPERIMENT, log_live

    card = load_bundle(find_model(model).folder).card if model else None
    report = compare_with_truth(predictions, truth, column=column, card=card)
    for one in report.live:
        log_live(
            f"backtest {one.version}",
            one.version,
            one.metrics(),
            registered=one.model.registered,
            tags={"unroll.live": "backtest", "unroll.task": one.model.task},
        )
    return [*report.lines(), f"logged to MLflow's experiment {EXPERIMENT}"]
