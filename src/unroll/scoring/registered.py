"""Scoring and back-tests with models of MLflow's registry, reported to MLflow."""

import os
from collections.abc import Callable
from pathlib import Path

from unroll.config.scoring import Scoring
from unroll.inference.bundle import load_bundle
from unroll.scoring.backtest import score_truth
from unroll.scoring.checks import checks_of
from unroll.scoring.job import Model, Tell, a_folder, score_inbox
from unroll.scoring.report import JobReport


def score_new(scoring: Scoring, tell: Tell, stopped: Callable[[JobReport], None]) -> JobReport:
    """Score the new files of the inbox, as `unroll score` and the flow do; raises what `score_inbox` raises.

    Args:
        scoring: Model, places, and options.
        tell: Is called with the report of each file.
        stopped: Is called with the report so far if the job cannot finish.
    """
    ledger_url = os.environ.get("UNROLL_LEDGER_URL")
    return score_inbox(scoring, resolve=find_model, ledger_url=ledger_url, check=checks_of, tell=tell, stopped=stopped)


def find_model(address: str) -> Model:
    """Return the model in a folder, or the registered one of an address that begins with `models:/`.

    Raises:
        TrackingError: The registry has no such model, or cannot be used.
    """
    if not address.startswith("models:/"):
        return a_folder(address)
    from unroll.tracking import registry

    found = registry.resolve(address)
    return Model(found.folder, {"name": found.name, "version": found.version, "run_id": found.run_id})


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
    from unroll.tracking.live import EXPERIMENT, log_live

    card = load_bundle(find_model(model).folder).card if model else None
    report = score_truth(predictions, truth, column=column, card=card)
    for one in report.live:
        log_live(
            f"truth {one.version}",
            one.version,
            one.metrics(),
            registered=one.model.registered,
            tags={"unroll.live": "truth", "unroll.task": one.model.task},
        )
    return [*report.lines(), f"logged to MLflow's experiment {EXPERIMENT}"]
