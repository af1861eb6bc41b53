"""What the processes of a search do: trials, and at the end trainings with fresh seeds."""

import math
import shutil
import statistics
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import torch
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning

from unroll import paths
from unroll.config.experiments import Experiment
from unroll.config.tuning import with_values
from unroll.domains.task import Task, make_task
from unroll.errors import ParameterError, TrainingError
from unroll.features.samples import Samples
from unroll.files import write_json
from unroll.stages.train import CODE
from unroll.training.checkpoints import checkpoint_key
from unroll.training.checks import check_experiment
from unroll.training.fit import group_members, train_members
from unroll.training.learner import Row
from unroll.training.members import Member, save_weights
from unroll.training.prediction import predict_test
from unroll.tuning.processes import exit_without_parent
from unroll.tuning.space import suggest
from unroll.tuning.study import Plan, enough, load_study, translated_errors

_STEPS_OF_FOLD = 10_000
"""Trials are compared epoch by epoch, and folds are trained one after the other."""


def search(plan: Plan, worker: int, deadline: float) -> None:
    """Run trials until the study has enough, or until the deadline (seconds since 1970).

    Raises:
        ServiceUnavailable, ParameterError: The study's database cannot be used.
    """
    warnings.simplefilter("ignore", ExperimentalWarning)
    samples, task = _prepared(plan)
    # Nothing that chooses settings may see a test row.
    folds = tuple(replace(fold, test=fold.test[:0]) for fold in samples.folds)
    samples = replace(samples, folds=folds)
    # One process at a time counts and begins a trial, or there would be too many.
    lock = FileLock(paths.study(plan.name) / "next.lock")

    def run(trial: optuna.Trial) -> float:
        lock.release()
        return _run_trial(plan, trial, task, samples)

    with translated_errors(plan):
        study = load_study(plan, worker)
        while time.time() < deadline:
            lock.acquire()
            exit_without_parent()
            if enough(study, plan):
                break
            study.optimize(run, n_trials=1)
    lock.release()


def train_fresh(plan: Plan, experiments: Iterable[Experiment]) -> None:
    """Train experiments of one seed each, and write the test metrics of each to `fresh_result`."""
    samples, task = _prepared(plan)
    for experiment in experiments:
        result = fresh_result(plan, experiment)
        folder = result.with_suffix("")
        (seed,) = experiment.training.seeds
        members = [Member(fold, seed) for fold in samples.folds]
        for group in group_members(members, experiment, task):
            trained = train_members(task, experiment, samples, group, folder, _on_step, _printer(plan, f"seed {seed}"))
            for member, one in zip(group, trained, strict=True):
                save_weights(folder / "weights" / member.file, one.weights)
        prediction = predict_test(task, experiment.model, samples, folder / "weights", (seed,))
        write_json(result, task.metrics.evaluate(prediction, samples.test_rows()))
        shutil.rmtree(folder)


def fresh_result(plan: Plan, experiment: Experiment) -> Path:
    """Return the file of the test metrics of a training at the end, named after all that determines them."""
    return paths.study(plan.name) / "fresh" / f"{_key(plan, experiment)}.json"


def _prepared(plan: Plan) -> tuple[Samples, Task]:
    torch.set_num_threads(plan.experiment.training.threads)
    torch.set_flush_denormal(True)
    samples = Samples.load(paths.features(plan.experiment.task))
    return samples, make_task(plan.experiment.task, plan.section, samples)


def _run_trial(plan: Plan, trial: optuna.Trial, task: Task, samples: Samples) -> float:
    """Train with the settings of a trial; return the mean over folds of the validation metric of the kept weights."""
    # A retried trial is a new one with the marks of the killed one, whose checkpoints it goes on from.
    first = trial.user_attrs.get("first", trial.number)
    trial.set_user_attr("first", first)
    trial.set_user_attr("place", plan.place)
    folder = paths.study(plan.name) / "checkpoints" / str(first)
    try:
        experiment = with_values(plan.experiment, suggest(trial, plan.tuning.space))
        check_experiment(plan.name, experiment, task, samples)
        value = _validation_metric(plan, trial, experiment, task, samples, folder / _key(plan, experiment))
    except (ParameterError, TrainingError) as error:
        # Settings that do not fit each other, or with which the loss is not finite: worse than any other.
        trial.set_user_attr("note", str(error))
        raise optuna.TrialPruned from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return value


def _validation_metric(
    plan: Plan, trial: optuna.Trial, experiment: Experiment, task: Task, samples: Samples, checkpoints: Path
) -> float:
    (seed,) = experiment.training.seeds
    kept: list[float] = []
    report = _printer(plan, f"trial {trial.number}")
    for number, fold in enumerate(samples.folds):

        def on_epoch(member: Member, row: Row, seconds: float, before: int = number * _STEPS_OF_FOLD) -> None:
            report(member, row, seconds)
            trial.report(statistics.mean([*kept, row["valid_metric"]]), before + row["epoch"])
            if trial.should_prune():
                raise optuna.TrialPruned

        (trained,) = train_members(task, experiment, samples, [Member(fold, seed)], checkpoints, _on_step, on_epoch)
        metrics = [row["valid_metric"] for row in trained.history]
        best = max(metrics) if task.metrics.higher_is_better else min(metrics)
        kept.append(best if experiment.training.keep == "best" else metrics[-1])
        if not math.isfinite(kept[-1]):
            raise TrainingError(f"the validation {task.metrics.headline} is {kept[-1]}")
    return statistics.mean(kept)


def _key(plan: Plan, experiment: Experiment) -> str:
    """Return the name of a training's checkpoints: what the stage hashes, so that changed code starts over."""
    settings = f"{experiment.model!r} {experiment.training!r} {plan.section!r}"
    features = [path for path in paths.features(experiment.task).iterdir() if path.name != "summary.json"]
    code: list[Path] = []
    for part in CODE:
        path = Path(__file__).parents[1] / part.format(domain=plan.section.domain)
        code += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return checkpoint_key(settings, [*sorted(features), *code])


def _on_step(*_: Any) -> None:
    exit_without_parent()


def _printer(plan: Plan, label: str) -> Callable[[Member, Row, float], None]:
    def report(member: Member, row: Row, seconds: float) -> None:
        fold = "" if member.fold.name == "all" else f" {member.fold.name}"
        text = f"{plan.name}  {label}{fold}  epoch {row['epoch']}  loss {row['train_loss']:.4g}"
        print(f"{text}  valid {row['valid_metric']:.5g}  {seconds:.1f} s", flush=True)  # noqa: T201 -- progress

    return report
