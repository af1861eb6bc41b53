"""What a search leaves behind: trials.csv, best.yaml, plots, and one sentence."""

import csv
import io
import json
import statistics
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml

from unroll.files import write_text
from unroll.tracking.search import TrialRecord
from unroll.tuning.plots import plot_search
from unroll.tuning.space import PRESENT, Space, values_of
from unroll.tuning.study import Plan, finished


@dataclass(frozen=True)
class Comparison:
    """Test metrics of the best and of the present settings, each trained with the same fresh seeds.

    Attributes:
        seeds: The seeds.
        best: Test metric of each seed with the best settings.
        present: The same with the settings of params.yaml.
    """

    seeds: tuple[int, ...]
    best: tuple[float, ...]
    present: tuple[float, ...]


def record_of(trial: optuna.trial.FrozenTrial, space: Space) -> TrialRecord:
    """Return a trial without Optuna's types, and with the values that the experiment took."""
    began, ended = ((one.timestamp() if one else 0.0) * 1000 for one in (trial.datetime_start, trial.datetime_complete))
    return TrialRecord(
        trial.number,
        trial.state.name.lower(),
        values_of(trial, space),
        # Optuna gives a pruned trial the value of its last epoch.
        trial.value if trial.state == optuna.trial.TrialState.COMPLETE else None,
        dict(trial.intermediate_values),
        round(began),
        round(ended),
        trial.user_attrs.get("note", ""),
    )


def present_metric(study: optuna.Study) -> float | None:
    """Return the validation metric of the present settings, if they were tried to the end."""
    return next((trial.value for trial in finished(study) if PRESENT in trial.user_attrs), None)


def write_results(
    folder: Path, plan: Plan, metric: str, study: optuna.Study, best: TrialRecord, comparison: Comparison
) -> dict[str, Any]:
    """Write the files of a search; return the content of best.yaml."""
    space = plan.tuning.space
    trials = [record_of(trial, space) for trial in finished(study)]
    write_text(folder / "trials.csv", _as_csv(trials, space))
    plot_search(folder, plan.name, metric, trials, best, space, _importances(study))
    content = {
        "summary": _summary(plan.name, metric, trials, best, present_metric(study), comparison),
        "metric": metric,
        "parameters": dict(best.values),
        "validation": {"trial": best.number, "best": best.metric, "present": present_metric(study)},
        "test": {
            "seeds": list(comparison.seeds),
            "best": _mean_and_deviation(comparison.best),
            "present": _mean_and_deviation(comparison.present),
        },
    }
    plain = json.loads(json.dumps(content))
    write_text(folder / "best.yaml", yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110))
    return content


def _summary(
    name: str,
    metric: str,
    trials: Sequence[TrialRecord],
    best: TrialRecord,
    present: float | None,
    comparison: Comparison,
) -> str:
    pruned = sum(trial.state == "pruned" for trial in trials)
    there = "" if present is None else f" (present settings: {present:.5g})"
    best_mean, present_mean = (
        f"{statistics.mean(one):.5g} ± {statistics.stdev(one):.2g}" for one in (comparison.best, comparison.present)
    )
    return (
        f"{name}: {len(trials)} settings tried, {pruned} of them pruned; the best of {len(trials)} on validation "
        f"is trial {best.number} with {metric} {best.metric:.5g}{there}. Retrained on {len(comparison.seeds)} fresh "
        f"seeds: test {metric} {best_mean}; present settings on the same seeds: {present_mean}"
    )


def _mean_and_deviation(values: Sequence[float]) -> dict[str, Any]:
    return {"mean": statistics.mean(values), "deviation": statistics.stdev(values), "values": list(values)}


def _as_csv(trials: Sequence[TrialRecord], space: Space) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", "metric", "epochs", "last_epoch_metric", "seconds", *space, "note"])
    for trial in trials:
        last = trial.steps[max(trial.steps)] if trial.steps else None
        values = [_cell(trial.values.get(name)) for name in space]
        seconds = round((trial.ended - trial.began) / 1000, 1)
        writer.writerow([trial.number, trial.state, trial.metric, len(trial.steps), last, seconds, *values, trial.note])
    return text.getvalue()


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _importances(study: optuna.Study) -> Mapping[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return optuna.importance.get_param_importances(study)
        except (ValueError, RuntimeError):
            # Too few complete trials, or all with one metric.
            return {}
