"""Trains every network of an experiment."""

import csv
import io
import shutil
from pathlib import Path
from typing import Any

import torch

import unroll
from unroll import paths
from unroll.config.experiments import DenseModel, Experiment
from unroll.config.reading import load_section
from unroll.domains.task import Task, make_task
from unroll.errors import ParameterError
from unroll.features.samples import Fold, Samples
from unroll.features.special_tokens import NEVER_GENERATED
from unroll.files import digest_of, read_json, require, write_json, write_text
from unroll.tracking import Run, member_prefix
from unroll.training.checkpoints import run_key
from unroll.training.loop import Trained, train
from unroll.training.members import Member, members, new_network, pick_device, save_weights, training_split, validate


def run(name: str) -> None:
    """Writes weights and history of an experiment; times and provenance beside them."""
    experiment = load_section("experiments", name)
    section = load_section("tasks", experiment.task)
    torch.set_num_threads(experiment.training.threads)
    torch.set_flush_denormal(True)
    samples = Samples.load(require(paths.features(experiment.task), f"featurize {experiment.task}"))
    task = make_task(experiment.task, section, samples)
    _check(name, experiment, task, samples)
    inputs = sorted(path for path in paths.features(experiment.task).iterdir() if path.name != "summary.json")
    key = run_key(f"{experiment!r} {section!r}", inputs, Path(unroll.__file__).parent)
    checkpoints = paths.checkpoints(name) / key
    history: list[dict[str, Any]] = []
    results = []
    folds = {fold.name: fold for fold in samples.folds}
    with Run.start(name, experiment, section, task.metrics.headline, checkpoints / "mlflow.json") as tracked:
        for member in members(samples, experiment.training):
            trained = _train_member(name, task, experiment, samples, folds[member.fold], member, checkpoints, tracked)
            save_weights(paths.weights(name) / member.file, trained.weights)
            history += [{"fold": member.fold, "seed": member.seed, **row} for row in trained.history]
            results.append(trained)
        write_text(paths.history(name), _as_csv(history))
        # DVC may bring other weights back beside these two files, which it does not track: they say whose they are.
        mark = {"weights_sha256": digest_of(paths.weights(name))}
        write_json(paths.timing(name), _timing(results, history) | mark)
        write_json(paths.provenance(name), read_json(paths.provenance(name)) | mark)
        if not tracked.send_history(history):
            print(f"{name}: the MLflow store is away; `unroll evaluate {name}` sends the metrics when it is back")
    shutil.rmtree(paths.checkpoints(name), ignore_errors=True)


def _check(name: str, experiment: Experiment, task: Task, samples: Samples) -> None:
    """What only experiment, task and samples together can tell."""
    if experiment.training.keep == "best" and not all(len(fold.valid) for fold in samples.folds):
        raise ParameterError(
            f"experiments.{name}.training.keep is best, but tasks.{experiment.task} holds no validation rows out to "
            "choose by; set keep: last, or a valid_share above 0"
        )
    if experiment.training.patience and not all(len(fold.valid) for fold in samples.folds):
        raise ParameterError(
            f"experiments.{name}.training.patience waits for a better validation metric, but tasks.{experiment.task} "
            "holds no validation rows out; leave patience out, or set a valid_share above 0"
        )
    if task.output == "tokens" and len(experiment.training.seeds) > 1:
        raise ParameterError(
            f"experiments.{name}.training.seeds has {len(experiment.training.seeds)} seeds, but what task "
            f"{experiment.task!r} writes has no mean: give one seed"
        )
    if task.decoding and task.decoding.beams > task.target_vocab_size - len(NEVER_GENERATED):
        raise ParameterError(
            f"tasks.{experiment.task}.decoding.beams is {task.decoding.beams}, but its vocabulary has "
            f"{task.target_vocab_size - len(NEVER_GENERATED)} tokens to begin with: follow no more than so many"
        )
    embedding = None if isinstance(experiment.model, DenseModel) else experiment.model.embedding
    if embedding and embedding.init == "pretrained" and samples.vectors is None:
        raise ParameterError(
            f"experiments.{name}.model.embedding.init is pretrained, but tasks.{experiment.task} has none: name a "
            f"GloVe or word2vec text file in tasks.{experiment.task}.vectors, or leave init out"
        )


def _train_member(
    name: str,
    task: Task,
    experiment: Experiment,
    samples: Samples,
    fold: Fold,
    member: Member,
    checkpoints: Path,
    tracked: Run,
) -> Trained:
    settings = experiment.training
    device = pick_device(settings.device)
    data = training_split(samples, task, fold.train, device)
    valid = training_split(samples, task, fold.valid, device)
    valid_rows = samples.at(fold.valid)
    vectors = None if samples.vectors is None else torch.from_numpy(samples.vectors)
    network = new_network(task, experiment.model, data, member.seed, vectors)
    alone = len(samples.folds) * len(settings.seeds) == 1
    label = name if alone else f"{name} {member.fold} seed {member.seed}"

    def report(row: dict[str, Any], seconds: float) -> None:
        text = f"{label}  epoch {row['epoch']}/{settings.epochs}  loss {row['train_loss']:.4g}"
        if row["valid_metric"] is not None:
            text += f"  valid loss {row['valid_loss']:.4g}  valid {task.metrics.headline} {row['valid_metric']:.5g}"
        print(f"{text}  gradient {row['gradient_norm']:.3g}  {seconds:.1f} s", flush=True)
        tracked.log_epoch(member_prefix(member.fold, member.seed, alone), row)

    return train(
        network,
        task.loss,
        data,
        settings,
        seed=member.seed,
        validate=(lambda network: validate(network, task, valid, valid_rows)) if len(valid) else None,
        better=task.metrics.is_better,
        on_epoch=report,
        checkpoint=checkpoints / member.file,
    )


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
