"""Evaluate an experiment: test metrics beside those of its baselines, and plots."""

import csv
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.numpy import load_file

from unroll import paths
from unroll.config.experiments import Experiment, RecurrentModel
from unroll.config.reading import load_section
from unroll.domains import domain_of
from unroll.domains.task import Task, make_task, topology_of
from unroll.evaluation.evaluation import evaluate, evaluate_seeds
from unroll.evaluation.inspection import (
    attention_weights,
    continuations,
    embedding_vectors,
    gradient_reach,
    prompt_rows,
)
from unroll.features.samples import Samples, linspace_indices
from unroll.files import replacing, require, write_json
from unroll.models.generators import EncoderDecoder, LanguageModel, Network
from unroll.models.network import SequenceNetwork
from unroll.plotting.attention import attention_maps
from unroll.plotting.figures import learning_curves, shrink
from unroll.plotting.results import Results
from unroll.plotting.tables import neighbor_table
from unroll.training.batches import Batches, make_batches
from unroll.training.build import build_model
from unroll.training.fit import fit_preprocessing
from unroll.training.members import load_networks
from unroll.training.prediction import predict_test

CPU = torch.device("cpu")
REACH_ROWS = 256
"""Test rows over which the gradient's reach is averaged."""
SHOWN = 6
"""Test rows in plots of attention and continuations."""
GENERATED = 100
"""Test rows whose continuations are measured, where a task measures what is generated."""

PICTURES = 3
"""Plots on the leaderboard's page for each experiment, which has a size that one can send."""


def run(name: str) -> None:
    """Write evaluation.json, test predictions and plots of an experiment."""
    experiment = load_section("experiments", name)
    section = load_section("tasks", experiment.task)
    seeds = experiment.training.seeds
    torch.set_num_threads(experiment.training.threads)
    samples = Samples.load(require(paths.features(experiment.task), f"featurize {experiment.task}"))
    task = make_task(experiment.task, section, samples)
    rows = samples.test_rows()
    weights = require(paths.weights(name), f"train {name}")
    baselines = require(paths.baselines(experiment.task), f"baseline {experiment.task}")
    with paths.history(name).open(encoding="utf-8", newline="") as file:
        history = [_numbers(row) for row in csv.DictReader(file)]
    prediction = predict_test(task, experiment.model, samples, weights, seeds)
    evaluation: dict[str, Any] = {
        "experiment": name,
        "task": experiment.task,
        "topology": topology_of(task, experiment.model),
        "metric": task.metrics.headline,
        **evaluate(task.metrics, prediction, load_file(baselines / "predictions.safetensors"), rows),
    }
    single = {seed: predict_test(task, experiment.model, samples, weights, (seed,)) for seed in seeds if len(seeds) > 1}
    evaluation |= evaluate_seeds(task.metrics, single or {seeds[0]: prediction}, rows)
    if isinstance(experiment.model, RecurrentModel) and task.input_steps and task.features:
        evaluation["gradient_reach"] = _reach(task, experiment, samples, weights)
    with replacing(paths.model(name) / "predictions.parquet") as part:
        pq.write_table(_as_table(task, prediction, rows), part)
    plots = domain_of(section.domain).part("plots")
    plots.plot(Results(paths.plots(name), name, section, samples, prediction, rows, evaluation))
    (network,) = load_networks(task, experiment.model, weights, samples.shipped, seeds[:1])
    test = make_batches(samples, task, samples.shipped.test, CPU)
    _plot_network(paths.plots(name), name, network, task, test)
    if isinstance(network, LanguageModel) and (texts := _generate(network, task, test)):
        if task.metrics.score_texts:
            evaluation["generated"] = task.metrics.score_texts(texts)
        shown = linspace_indices(len(texts), SHOWN)
        plots.write_examples(paths.plots(name) / "written", [texts[place] for place in shown])
    learning_curves(paths.plots(name) / "learning.png", name, history, task.metrics.headline)
    _show(name)
    write_json(paths.evaluation(name), evaluation)
    print(f"{name}: test {task.metrics.headline} {evaluation['test'][task.metrics.headline]:.5g}", end="")
    print("".join(f"; {key} {figures[task.metrics.headline]:.5g}" for key, figures in evaluation["baseline"].items()))


def _reach(task: Task, experiment: Experiment, samples: Samples, weights: Any) -> dict[str, list[float]]:
    """Return the gradient norm at each time step, before training and after."""
    fold, seed = samples.shipped, experiment.training.seeds[0]
    data = make_batches(samples, task, fold.test[:REACH_ROWS], CPU)
    untrained = build_model(task, experiment.model, seed=seed)
    fit_preprocessing(untrained, make_batches(samples, task, fold.train, CPU))
    (trained,) = load_networks(task, experiment.model, weights, fold, (seed,))
    return {
        moment: gradient_reach(network, task, data)
        for moment, network in (("untrained", untrained), ("trained", trained))
        if isinstance(network, SequenceNetwork)
    }


def _show(name: str) -> None:
    """Copy what the leaderboard's page shows; it draws the learning curves itself."""
    pictures = sorted(path for path in paths.plots(name).glob("*.png") if path.stem not in ("learning", "neighbors"))
    with replacing(paths.shown(name)) as folder:
        folder.mkdir()
        shutil.copyfile(paths.history(name), folder / "history.csv")
        for path in pictures[:PICTURES]:
            shrink(path, folder / path.name)


def _plot_network(folder: Path, title: str, network: Network, task: Task, data: Batches) -> None:
    embedding = embedding_vectors(network)
    if embedding is not None:
        vocabulary = next(iter(task.vocabularies.values()))
        tokens = vocabulary.tokens_of(range(vocabulary.size))
        neighbor_table(folder / "neighbors.png", f"{title}: nearest vectors", tokens, embedding)
    if isinstance(network, EncoderDecoder) and network.decoder.attention is not None:
        some = linspace_indices(len(data), SHOWN).tolist()
        weights = attention_weights(network, task, data, some)
        attention_maps(folder / "attention.png", f"{title}: attention weights", weights)


def _generate(network: LanguageModel, task: Task, data: Batches) -> list[str]:
    """Return texts that begin as test rows do; an empty list where no row is long enough for a prompt."""
    rows = prompt_rows(data, GENERATED if task.metrics.score_texts else SHOWN)
    vocabulary = next(iter(task.vocabularies.values()))
    return [vocabulary.decode(row) for row in continuations(network, task, data, rows)] if rows else []


def _as_table(task: Task, prediction: Any, rows: Any) -> pa.Table:
    """Return the test rows in order: prediction, target, texts, and the day where there is one."""
    columns = {"row": pa.array(range(len(prediction)), pa.int64())}
    if "day" in rows:
        columns["day"] = pa.array(rows["day"], pa.int32()).cast(pa.date32())
    columns |= {key: pa.array(value, pa.string()) for key, value in rows.items() if value.dtype == object}
    if task.output == "tokens" and not task.every_step:
        vocabulary = next(iter(task.vocabularies.values()))
        return pa.table(columns | {"prediction": pa.array([vocabulary.decode(row) for row in prediction])})
    for key, value in (("prediction", prediction), ("target", rows["targets"])):
        columns[key] = pa.array(value.tolist() if value.ndim > 2 else value if value.ndim == 1 else list(value))
    return pa.table(columns)


def _numbers(row: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {"fold": row.pop("fold"), "seed": int(row.pop("seed")), "epoch": int(row.pop("epoch"))}
    return found | {key: float(value) if value else None for key, value in row.items()}
