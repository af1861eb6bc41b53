"""Train every network of an experiment."""

import csv
import io
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from unroll import paths
from unroll.config.experiments import Experiment
from unroll.config.reading import load_section
from unroll.domains.task import Task, make_task
from unroll.features.samples import Samples
from unroll.files import digest_of, read_json, require, write_json, write_text
from unroll.stages.progress import StepReporter
from unroll.tracking import Run, member_prefix
from unroll.training.checkpoints import checkpoint_key
from unroll.training.checks import check_experiment
from unroll.training.fit import group_members, train_members
from unroll.training.learner import Row, Trained
from unroll.training.members import Member, save_weights

CODE = (
    "stages/train.py",
    "training",
    "models",
    "metrics",
    "config/decoding.py",
    "config/experiments.py",
    "domains/task.py",
    "domains/{domain}/config.py",
    "domains/{domain}/samples.py",
    "domains/{domain}/metrics.py",
    "domains/{domain}/task.py",
    "features/groups.py",
    "features/samples.py",
    "features/special_tokens.py",
    "features/symbols.py",
    "features/text.py",
)
"""Source files that a training runs: those that the stage depends on in dvc.yaml."""


def run(name: str) -> None:
    """Write weights and history of an experiment, and beside them timing and provenance."""
    experiment = load_section("experiments", name)
    section = load_section("tasks", experiment.task)
    torch.set_num_threads(experiment.training.threads)
    torch.set_flush_denormal(True)
    samples = Samples.load(require(paths.features(experiment.task), f"featurize {experiment.task}"))
    task = make_task(experiment.task, section, samples)
    check_experiment(name, experiment, task, samples)
    settings = f"{experiment.model!r} {experiment.training!r} {section!r}"
    key = checkpoint_key(settings, _inputs(experiment.task, task.domain))
    checkpoints = paths.checkpoints(name) / key
    members = [Member(fold, seed) for fold in samples.folds for seed in experiment.training.seeds]
    groups = group_members(members, experiment, task)
    steps = StepReporter(name, paths.progress(name), experiment.training.epochs, len(groups))
    history: list[dict[str, Any]] = []
    results: list[Trained] = []
    with Run.start(name, experiment, section, task.metrics.headline, checkpoints / "mlflow.json") as tracked:
        report = _report(name, experiment, task, len(members) == 1, tracked, steps)
        for group in groups:
            steps.next_network("" if len(members) == 1 else f"{_label(group)}  ")
            trained = train_members(task, experiment, samples, group, checkpoints, steps.step, report)
            for member, one in zip(group, trained, strict=True):
                save_weights(paths.weights(name) / member.file, one.weights)
                history += [{"fold": member.fold.name, "seed": member.seed, **row} for row in one.history]
            results += trained
        write_text(paths.history(name), _as_csv(history))
        # DVC may later check out other weights beside these two files, which it does not track: they name theirs.
        mark = {"weights_sha256": digest_of(paths.weights(name))}
        write_json(paths.timing(name), _timing(results, history) | mark)
        write_json(paths.provenance(name), read_json(paths.provenance(name)) | mark)
    paths.progress(name).unlink(missing_ok=True)
    shutil.rmtree(paths.checkpoints(name), ignore_errors=True)


def _inputs(task: str, domain: str) -> Iterable[Path]:
    """Return the files that determine the result of training besides params.yaml: features and code."""
    yield from sorted(path for path in paths.features(task).iterdir() if path.name != "summary.json")
    for part in CODE:
        path = Path(__file__).parents[1] / part.format(domain=domain)
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _label(group: list[Member]) -> str:
    return str(group[0]) if len(group) == 1 else f"{len(group)} networks"


def _report(
    name: str, experiment: Experiment, task: Task, alone: bool, tracked: Run, steps: StepReporter
) -> Callable[[Member, Row, float], None]:
    """Return a function that prints and logs an epoch of a member."""

    def report(member: Member, row: Row, seconds: float) -> None:
        label = name if alone else f"{name} {member}"
        text = f"{label}  epoch {row['epoch']}/{experiment.training.epochs}  loss {row['train_loss']:.4g}"
        if row["valid_metric"] is not None:
            text += f"  valid loss {row['valid_loss']:.4g}  valid {task.metrics.headline} {row['valid_metric']:.5g}"
        print(f"{text}  gradient {row['gradient_norm']:.3g}  {seconds:.1f} s", flush=True)
        steps.printed()
        tracked.log_epoch(member_prefix(member.fold.name, member.seed, alone), row)

    return report


def _as_csv(history: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, history[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


def _timing(results: list[Trained], history: list[dict[str, Any]]) -> dict[str, Any]:
    seconds = sum(trained.seconds for trained in results)
    samples = sum(trained.samples for trained in results)
    return {
        "seconds": round(seconds, 2),
        "samples_per_second": round(samples / seconds, 1) if samples else None,
        "epochs": len(history),
    }
