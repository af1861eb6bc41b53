"""A search for better settings of an experiment, from params.yaml to its results."""

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

import optuna
from filelock import FileLock, Timeout

from unroll import paths
from unroll.config.experiments import Experiment
from unroll.config.reading import load_section
from unroll.config.tuning import ExperimentRow, with_values
from unroll.config.writing import set_values, with_set_values
from unroll.domains.task import Task, make_task
from unroll.errors import ParameterError, TrainingError
from unroll.features.samples import Samples
from unroll.files import read_json, require
from unroll.tracking.search import SearchRun, TrialRecord
from unroll.training.checks import check_experiment
from unroll.tuning.processes import run_side_by_side
from unroll.tuning.results import Comparison, record_of, write_results
from unroll.tuning.study import Plan, begin_study, finished, translated_errors
from unroll.tuning.trial import fresh_result, search, train_fresh


@dataclass(frozen=True)
class Options:
    """How a search is run.

    Attributes:
        jobs: Processes that train at the same time.
        resume: Go on with a study that exists.
        storage: Address of a database that several machines share; empty for a file of this repository.
        apply: Write the best settings into params.yaml at the end.
    """

    jobs: int = 1
    resume: bool = False
    storage: str = ""
    apply: bool = False


def tune(name: str, options: Options, report: Callable[[str], None]) -> None:
    """Search, compare the best settings with the present ones, and write the results.

    Args:
        name: Name of an experiment with a section `tune`.
        options: How.
        report: Called with lines for the user.

    Raises:
        ParameterError: The search cannot begin; nothing has been trained.
        TrainingError: No trial was completed, or a process was killed.
        ServiceUnavailable, TrackingError: MLflow or the study's database cannot be used.
    """
    plan, task = _prepare(name, options)
    metric = task.metrics.headline
    paths.study(name).mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(paths.study(name) / "lock", timeout=0).acquire()
    except Timeout:
        raise ParameterError(
            f"another `unroll tune {name}` runs here; wait for its end, or give it more --jobs"
        ) from None
    with lock, translated_errors(plan):
        study = begin_study(plan, resume=options.resume, higher_is_better=task.metrics.higher_is_better)
        known = study.user_attrs.get("mlflow_run_id")
        with SearchRun.open(name, plan.experiment, plan.section, metric, known) as tracked:
            study.set_user_attr("mlflow_run_id", tracked.run_id)
            _search(plan, options.jobs, _Watch(study, plan, metric, tracked, report))
            best = _best(study, plan)
            comparison = _compare(plan, options.jobs, with_values(plan.experiment, best.values), metric)
            folder = paths.tuning(name)
            content = write_results(folder, plan, metric, study, best, comparison)
            report(content["summary"])
            report(f"{folder}: best.yaml, trials.csv and plots")
            records = [record_of(trial, plan.tuning.space) for trial in finished(study)]
            figures = {key: content[key] for key in ("summary", "validation", "test")}
            tracked.log_results(records, figures, folder)
        if options.apply:
            set_values(name, best.values)
            report(f"{paths.PARAMS}: " + ", ".join(f"{key} = {value}" for key, value in best.values.items()))


def _prepare(name: str, options: Options) -> tuple[Plan, Task]:
    """Return the plan and the task, after all that can be checked before a training."""
    row: ExperimentRow = load_section("experiments", name)
    section = load_section("tasks", row.task)
    if row.tune is None:
        raise ParameterError(f"experiments.{name} has no `tune`, the space to search; docs/experiments.md has examples")
    samples = Samples.load(require(paths.features(row.task), f"featurize {row.task}"))
    task = make_task(row.task, section, samples)
    if not all(len(fold.valid) for fold in samples.folds):
        raise ParameterError(
            f"tasks.{row.task} holds out no validation rows, by which settings could be compared; set a valid_share "
            "above 0 there, for the search at least (the test split is not for that)"
        )
    experiment = with_values(row, {"training.seeds": row.training.seeds[:1]})
    check_experiment(name, experiment, task, samples)
    for parameter, dimension in row.tune.space.items():
        for value in dimension.values:
            try:
                check_experiment(name, with_values(experiment, {parameter: value}), task, samples)
            except ParameterError as error:
                raise ParameterError(f"tune.space.{parameter} = {value}: {error}") from None
    if options.apply:
        # A layout that does not allow it is refused now, not after hours.
        with_set_values(name, {parameter: dimension.values[0] for parameter, dimension in row.tune.space.items()})
    return Plan(name, experiment, section, row.tune, options.storage), task


@dataclass
class _Watch:
    """Prints and logs each trial that has ended."""

    study: optuna.Study
    plan: Plan
    metric: str
    tracked: SearchRun
    report: Callable[[str], None]

    def __post_init__(self) -> None:
        self._known = {trial.number for trial in finished(self.study)}

    def __call__(self) -> None:
        trials = finished(self.study)
        new = [trial for trial in trials if trial.number not in self._known]
        for trial in new:
            record = record_of(trial, self.plan.tuning.space)
            self._known.add(record.number)
            settings = ", ".join(f"{name} = {value}" for name, value in record.values.items())
            outcome = f"pruned after {len(record.steps)} epochs" if record.metric is None else f"{record.metric:.5g}"
            count = f"{len(self._known)}/{self.plan.tuning.trials}"
            self.report(f"{self.plan.name}  trial {record.number} ({count})  {self.metric} {outcome}  {settings}")
        if new:
            self.tracked.log_trials([record_of(trial, self.plan.tuning.space) for trial in trials])


def _search(plan: Plan, jobs: int, watch: _Watch) -> None:
    deadline = time.time() + (plan.tuning.timeout or math.inf)
    if len(finished(watch.study)) < plan.tuning.trials:
        run_side_by_side(search, [(plan, worker, deadline) for worker in range(jobs)], watch)
    if len(finished(watch.study)) >= plan.tuning.trials:
        # Left by trials that were killed and given up, or retried on another machine.
        shutil.rmtree(paths.study(plan.name) / "checkpoints", ignore_errors=True)


def _best(study: optuna.Study, plan: Plan) -> TrialRecord:
    records = [record_of(trial, plan.tuning.space) for trial in finished(study)]
    if all(record.metric is None for record in records):
        notes = next((record.note for record in records if record.note), "the time was over before")
        raise TrainingError(f"no trial of {plan.name} was completed: {notes}")
    best = study.best_trial.number
    return next(record for record in records if record.number == best)


def _compare(plan: Plan, jobs: int, best: Experiment, metric: str) -> Comparison:
    """Train the best and the present settings with seeds that no trial had; return their test metrics."""
    first = load_section("experiments", plan.name).training.seeds
    seeds = tuple(range(max(first) + 1, max(first) + 1 + plan.tuning.retrain))

    def seeded(experiment: Experiment) -> list[Experiment]:
        return [with_values(experiment, {"training.seeds": [seed]}) for seed in seeds]

    missing = [
        one for one in dict.fromkeys([*seeded(best), *seeded(plan.experiment)]) if not fresh_result(plan, one).exists()
    ]
    shares = [missing[worker::jobs] for worker in range(jobs)]
    run_side_by_side(train_fresh, [(plan, share) for share in shares if share], lambda: None)

    def metrics(experiment: Experiment) -> tuple[float, ...]:
        return tuple(read_json(fresh_result(plan, one))[metric] for one in seeded(experiment))

    return Comparison(seeds, metrics(best), metrics(plan.experiment))
