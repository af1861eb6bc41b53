"""Test figures of an experiment beside its baselines', and pictures of them."""

import csv
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.numpy import load_file

from unroll import params, paths
from unroll.features.samples import Samples
from unroll.files import digest_of, read_json, replacing, require, write_json
from unroll.tasks import task_of
from unroll.tasks.evaluation import evaluate, metrics
from unroll.tasks.figures import learning_curves
from unroll.tasks.task import Task
from unroll.tracking import Run
from unroll.training.gradients import gradient_reach
from unroll.training.members import last_fold, load_ensemble, new_network, predict_test, training_split

REACH_ROWS = 256
"""Test rows that the gradient's reach is averaged over."""


def run(name: str) -> None:
    """Writes evaluation.json, the test predictions and plots of an experiment."""
    experiment = params.load_section("experiments", name)
    section = params.load_section("tasks", experiment.task)
    task = task_of(experiment.task, section)
    seeds = experiment.training.seeds
    torch.set_num_threads(experiment.training.threads)
    samples = Samples.load(require(paths.features(experiment.task), f"featurize {experiment.task}"))
    rows = samples.test_rows()
    weights = require(paths.weights(name), f"train {name}")
    baselines = require(paths.baselines(experiment.task), f"baseline {experiment.task}")
    with paths.history(name).open(encoding="utf-8", newline="") as file:
        history = [_numbers(row) for row in csv.DictReader(file)]
    with Run.resume(name, experiment, section, task.headline) as tracked:
        tracked.send_history(history)
        prediction = predict_test(task, experiment.model, samples, weights, seeds)
        evaluation: dict[str, Any] = {
            "experiment": name,
            "task": experiment.task,
            "topology": topology_of(task, experiment.model),
            "metric": task.headline,
            **evaluate(task, prediction, load_file(baselines / "predictions.safetensors"), rows),
        }
        if len(seeds) > 1:
            evaluation["seeds"] = {
                str(seed): metrics(task, predict_test(task, experiment.model, samples, weights, (seed,)), rows)
                for seed in seeds
            }
        if isinstance(experiment.model, params.RecurrentModel):
            evaluation["gradient_reach"] = _reach(task, experiment, samples, weights)
        with replacing(paths.model(name) / "predictions.parquet") as part:
            pq.write_table(_as_table(prediction, rows), part)
        task.plot(paths.plots(name), name, prediction, rows, evaluation)
        learning_curves(paths.plots(name) / "learning.png", name, history, task.headline)
        write_json(paths.evaluation(name), evaluation)
        tracked.log_figures({key: evaluation[key] for key in ("test", "baseline", "against")})
        timing = read_json(paths.timing(name)) if paths.timing(name).exists() else {}
        if timing.pop("weights_sha256", None) == digest_of(weights):
            tracked.log_figures({"timing": timing})
        tracked.log_files(paths.plots(name), "plots")
    print(f"{name}: test {task.headline} {evaluation['test'][task.headline]:.5g}", end="")
    print("".join(f"; {key} {figures[task.headline]:.5g}" for key, figures in evaluation["baseline"].items()))


def topology_of(task: Task, model: params.Model) -> str:
    """The task's, but a network that sees its whole input at once unrolls nothing."""
    return "one_to_one" if isinstance(model, params.DenseModel) else task.topology


def _reach(task: Task, experiment: params.Experiment, samples: Samples, weights: Any) -> dict[str, list[float]]:
    """Gradient norm at each time step, before training and after."""
    fold = last_fold(samples)
    seed = experiment.training.seeds[0]
    data = training_split(samples, fold.test[:REACH_ROWS], torch.device("cpu"))
    fresh = new_network(task, experiment.model, training_split(samples, fold.train, torch.device("cpu")), seed)
    trained = load_ensemble(task, experiment.model, weights, fold.name, (seed,)).members[0]
    return {
        "untrained": gradient_reach(fresh, task, data),
        "trained": gradient_reach(trained, task, data),  # type: ignore[arg-type]
    }


def _as_table(prediction: Any, rows: Any) -> pa.Table:
    """Test rows in order: what was predicted, what was true, and the day where there is one."""
    columns = {"row": pa.array(range(len(prediction)), pa.int64())}
    if "day" in rows:
        columns["day"] = pa.array(rows["day"], pa.int32()).cast(pa.date32())
    for key, value in (("prediction", prediction), ("target", rows["targets"])):
        columns[key] = pa.array(value if value.ndim == 1 else list(value))
    return pa.table(columns)


def _numbers(row: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {"fold": row.pop("fold"), "seed": int(row.pop("seed")), "epoch": int(row.pop("epoch"))}
    return found | {key: float(value) if value else None for key, value in row.items()}
