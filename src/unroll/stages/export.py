"""From trained weights to a bundle that onnxruntime runs."""

from typing import Any

import torch

from unroll import paths
from unroll.config.experiments import DenseModel, EncoderDecoderModel, Model
from unroll.config.reading import load_section
from unroll.domains.task import Task, make_task, topology_of
from unroll.errors import ExportError
from unroll.export.bundle import add, card, draws, seal
from unroll.export.cases import ROWS, example, runs
from unroll.export.decoding import export_generator
from unroll.export.onnx import export, parity
from unroll.export.reference import describe
from unroll.features.samples import Samples, linspace_indices
from unroll.files import read_json, replacing, require, sha256_of, write_json
from unroll.inference.bundle import load_bundle
from unroll.inference.reference import EXPECTATIONS, REFERENCE
from unroll.models.generators import EncoderDecoder, LanguageModel
from unroll.tracking import Run, data_hashes
from unroll.training.members import last_fold, load_networks, training_split, whole_model


def run(name: str) -> None:
    """Writes the bundle and parity.json of an experiment."""
    experiment = load_section("experiments", name)
    section = load_section("tasks", experiment.task)
    torch.set_num_threads(experiment.training.threads)
    samples = Samples.load(require(paths.features(experiment.task), f"featurize {experiment.task}"))
    task = make_task(experiment.task, section, samples)
    fold = last_fold(samples)
    weights = require(paths.weights(name), f"train {name}")
    evaluation = read_json(require(paths.evaluation(name), f"evaluate {name}"))
    model = whole_model(task, load_networks(task, experiment.model, weights, fold.name, experiment.training.seeds))
    free_time = not isinstance(_encoder(experiment.model), DenseModel)
    data = training_split(samples, task, fold.test[linspace_indices(len(fold.test), ROWS)], torch.device("cpu"))
    metric = task.metrics.headline
    figures = {
        "metric": metric,
        "test": evaluation["test"][metric],
        "baseline": {key: figures[metric] for key, figures in evaluation["baseline"].items()},
    }
    with Run.resume(name, experiment, section, task.metrics.headline) as tracked:
        with replacing(paths.bundle(name)) as folder:
            folder.mkdir(parents=True)
            path, traced = folder / "model.onnx", example(task, data)
            if isinstance(model, LanguageModel | EncoderDecoder):
                export_generator(model, task, *traced, path, draws=draws(task))
            else:
                export(model, task, *traced, path, free_time=free_time)
            found = parity(path, [spec.name for spec in task.outputs], runs(model, task, data, free_time=free_time))
            write_json(paths.parity(name), found)
            if not found["passed"]:
                if not found["finite"]:
                    raise ExportError(f"{name}: for a test row, torch or ONNX gives something that is no finite number")
                raise ExportError(
                    f"{name}: ONNX and torch differ by {found['max_relative_error']:.2g} relative "
                    f"({found['max_abs_error']:.2g} absolute, {found['differing_labels']} labels or tokens); at most "
                    f"{found['tolerance']:.0e} is allowed; {paths.parity(name)} tells the shapes that were tried"
                )
            hashes = data_hashes(paths.raw(section.dataset), paths.features(experiment.task))
            topology = topology_of(task, experiment.model)
            seal(folder, card(name, task, topology, free_time=free_time, data=hashes, figures=figures), task)
            reference, expectations = describe(load_bundle(folder), samples.tensors, fold)
            kept = [one.model_dump(exclude_defaults=True) for one in expectations]
            add(folder, {REFERENCE: reference.model_dump(), EXPECTATIONS: kept})
        mark = {"model_sha256": sha256_of(paths.bundle(name) / "model.onnx")}
        write_json(paths.provenance(name), read_json(paths.provenance(name)) | mark)
        tracked.log_figures({"parity": {key: found[key] for key in ("max_abs_error", "max_relative_error")}})
        tracked.log_model(paths.bundle(name), read_json(paths.bundle(name) / "card.json"))
    write_json(paths.result(name), _result(task, evaluation, found))
    tried = len(found["shapes_tried"])
    print(f"{name}: bundle written; ONNX and torch agree to {found['max_relative_error']:.1e} over {tried} shapes")


def _result(task: Task, evaluation: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """The experiment's line of the leaderboard: its headline beside the strongest baseline."""
    metric, baselines = task.metrics.headline, evaluation["baseline"]
    strongest = (max if task.metrics.higher_is_better else min)(baselines, key=lambda key: baselines[key][metric])
    return {
        "experiment": evaluation["experiment"],
        "task": evaluation["task"],
        "topology": evaluation["topology"],
        "metric": metric,
        "value": evaluation["test"][metric],
        "baseline": strongest,
        "baseline_value": baselines[strongest][metric],
        "p_value": evaluation["against"][strongest]["p_value"],
        "test": evaluation["against"][strongest]["test"],
        "parity": "passed" if found["passed"] else "failed",
        "gradient_reach": evaluation.get("gradient_reach", {}),
    }


def _encoder(model: Model) -> Model:
    return model.encoder if isinstance(model, EncoderDecoderModel) else model
