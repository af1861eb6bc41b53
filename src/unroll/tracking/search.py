"""A search for settings in MLflow: a parent run, and below it a run for each trial."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from unroll.config.experiments import Experiment
from unroll.config.section import TaskSection
from unroll.redaction import redacted
from unroll.tracking.runs import Run, create_run
from unroll.tracking.store import open_store, run_exists, translated_errors

_PARENT, _TRIAL, _STATE = "mlflow.parentRunId", "unroll.trial", "unroll.trial_state"


@dataclass(frozen=True)
class TrialRecord:
    """A trial that ended.

    Attributes:
        number: Its number in the study.
        state: `complete` or `pruned`.
        values: Parameters by dotted name.
        metric: Validation metric of the kept weights; None if the trial was pruned.
        steps: Validation metric by epoch.
        began: Milliseconds since 1970.
        ended: Milliseconds since 1970.
        note: Why it could not be trained, if so.
    """

    number: int
    state: str
    values: Mapping[str, Any]
    metric: float | None
    steps: Mapping[int, float]
    began: int
    ended: int
    note: str = ""


class SearchRun(Run):
    """The parent run of a search."""

    _later = "the search goes on, and sends its trials at the end"

    @classmethod
    def open(cls, name: str, experiment: Experiment, task: TaskSection, metric: str, run_id: str | None) -> Self:
        """Create the parent run of a study, or go on with it.

        Raises:
            ServiceUnavailable, TrackingError: The store cannot be used; nothing has been tried yet.
        """
        with open_store() as client:
            if run_id is None or not run_exists(client, run_id):
                run_id = create_run(client, f"tune {name}", experiment, task, {"unroll.tuned_experiment": name})
            else:
                client.update_run(run_id, status="RUNNING")
        return cls(client, run_id, metric)

    def log_trials(self, trials: Sequence[TrialRecord]) -> None:
        """Log the trials that have no run yet. If the store is unavailable, `log_results` sends them."""
        self._try(lambda: self._log_trials(trials))

    def log_results(self, trials: Sequence[TrialRecord], figures: Mapping[str, Any], folder: Path) -> None:
        """Log missing trials, the figures of the search, and its files.

        Raises:
            ServiceUnavailable, TrackingError: The store cannot be used; the same command sends them later.
        """
        with translated_errors():
            self._log_trials(trials)
        self.log_figures(figures)
        self.log_files(folder, "tuning")
        # The store answers again: leaving the block ends the run.
        self._away = False

    def _log_trials(self, trials: Sequence[TrialRecord]) -> None:
        parent = self._client.get_run(self.run_id).info
        children = self._client.search_runs(
            [parent.experiment_id], f"tags.`{_PARENT}` = '{self.run_id}'", max_results=50_000
        )
        # A run that did not end was left by a killed process.
        known = {int(run.data.tags[_TRIAL]): run.info.run_id for run in children if run.info.status == "RUNNING"}
        done = {int(run.data.tags[_TRIAL]) for run in children if run.info.status != "RUNNING"}
        for trial in trials:
            if trial.number not in done:
                self._log_trial(trial, parent.experiment_id, known.get(trial.number))

    def _log_trial(self, trial: TrialRecord, experiment_id: str, run_id: str | None) -> None:
        from mlflow.entities import Metric, Param

        if run_id is None:
            tags = {_PARENT: self.run_id, _TRIAL: str(trial.number), _STATE: trial.state}
            tags |= {"unroll.note": redacted(trial.note)[:5000]} if trial.note else {}
            run = self._client.create_run(
                experiment_id, start_time=trial.began, run_name=f"trial {trial.number} ({trial.state})", tags=tags
            )
            run_id = run.info.run_id
        name, last = f"valid_{self._metric}", max(trial.steps, default=0)
        metrics = [Metric(f"{name}_by_epoch", value, 0, step) for step, value in trial.steps.items()]
        metrics += [] if trial.metric is None else [Metric(name, trial.metric, 0, last)]
        self._log_metrics(metrics, run_id)
        params = [Param(key, redacted(str(value))[:500]) for key, value in trial.values.items()]
        self._client.log_batch(run_id, params=params)
        status = "KILLED" if trial.state == "pruned" else "FINISHED"
        self._client.set_terminated(run_id, status, trial.ended)
