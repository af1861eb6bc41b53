"""Export trained weights as a bundle that onnxruntime runs."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from unroll import paths
from unroll.config.experiments import DenseModel, EncoderDecoderModel
from unroll.config.reading import load_section
from unroll.domains.task import Task, make_task, topology_of
from unroll.errors import ExportError
from unroll.export.bundle import add_files, can_sample, make_card, write_card
from unroll.export.decoding import export_generator
from unroll.export.onnx import export
from unroll.export.parity import ROWS, example, parity, parity_cases
from unroll.export.quantization import compare, quantize
from unroll.features.samples import Samples, linspace_indices
from unroll.files import read_json, replacing, require, sha256_of, write_json
from unroll.inference.bundle import load_bundle
from unroll.inference.describe import describe
from unroll.inference.reference import EXPECTATIONS, REFERENCE
from unroll.models.generators import EncoderDecoder, LanguageModel
from unroll.tracking import data_hashes
from unroll.training.batches import Batches, make_batches
from unroll.training.build import combine
from unroll.training.members import load_networks


def run(name: str) -> None:
    """Write the bundle and parity.json of an experiment."""
    experiment = load_section("experiments", name)
    section = load_section("tasks", experiment.task)
    torch.set_num_threads(experiment.training.threads)
    samples = Samples.load(require(paths.features(experiment.task), f"featurize {experiment.task}"))
    task = make_task(experiment.task, section, samples)
    weights = require(paths.weights(name), f"train {name}")
    evaluation = read_json(require(paths.evaluation(name), f"evaluate {name}"))
    fold = samples.shipped
    networks = load_networks(task, experiment.model, weights, fold, experiment.training.seeds)
    model = combine(task, networks)
    encoder = experiment.model.encoder if isinstance(experiment.model, EncoderDecoderModel) else experiment.model
    # A window of a series has a fixed number of steps, past and to come.
    dynamic_time = not isinstance(encoder, DenseModel) and task.ahead is None
    data = make_batches(samples, task, fold.test[linspace_indices(len(fold.test), ROWS)], torch.device("cpu"))
    metric = task.metrics.headline
    card = make_card(
        name,
        task,
        topology_of(task, experiment.model),
        dynamic_time=dynamic_time,
        data=data_hashes(paths.raw(section.dataset), paths.features(experiment.task)),
        metrics={
            "metric": metric,
            "test": evaluation["test"][metric],
            "baseline": {key: metrics[metric] for key, metrics in evaluation["baseline"].items()},
        },
        settings=samples.notes.get("settings"),
    )
    with replacing(paths.bundle(name)) as folder:
        folder.mkdir(parents=True)
        found = _export(name, model, task, data, folder / "model.onnx", dynamic_time=dynamic_time)
        write_card(folder, card, task)
        if experiment.export.quantize == "int8":
            found["int8"] = quantize_bundle(name, model, task, samples, folder, experiment.export.max_loss)
            write_json(paths.parity(name), found)
            card["metrics"]["int8"] = {key: found["int8"][key] for key in ("float32", "int8", "loss", "split", "rows")}
            write_card(folder, card, task)
        reference, expectations = describe(load_bundle(folder), samples.tensors, fold)
        kept = [one.model_dump(exclude_defaults=True) for one in expectations]
        add_files(folder, {REFERENCE: reference.model_dump(), EXPECTATIONS: kept})
    # DVC may restore another bundle beside this file, which it does not track: it names the graph that it is about.
    provenance = read_json(paths.provenance(name)) if paths.provenance(name).exists() else {}
    write_json(paths.provenance(name), provenance | {"model_sha256": sha256_of(paths.graph(name))})
    about = {
        "bytes": paths.graph(name).stat().st_size,
        "data": card["data"],
        "model": experiment.model.model_dump(mode="json", exclude_defaults=True),
        "model_sha256": sha256_of(paths.graph(name)),
        "parameters": sum(one.numel() for one in networks[0].parameters()),
        "training": experiment.training.model_dump(mode="json", exclude_defaults=True),
    }
    write_json(paths.result(name), _result(task, evaluation, found) | about)
    tried = len(found["shapes_tried"])
    print(f"{name}: bundle written; ONNX and torch agree to {found['max_relative_error']:.1e} over {tried} shapes")


def _export(
    name: str, model: nn.Module, task: Task, data: Batches, path: Path, *, dynamic_time: bool
) -> dict[str, Any]:
    traced = example(task, data)
    if isinstance(model, LanguageModel | EncoderDecoder):
        export_generator(model, task, *traced, path, sampling=can_sample(task))
    else:
        export(model, task, *traced, path, dynamic_time=dynamic_time)
    outputs = [spec.name for spec in task.outputs]
    found = parity(path, outputs, parity_cases(model, task, data, dynamic_time=dynamic_time))
    write_json(paths.parity(name), found)
    if not found["finite"]:
        raise ExportError(f"{name}: an output of torch or ONNX for a test row is not a finite number")
    if not found["passed"]:
        raise ExportError(
            f"{name}: ONNX and torch differ by {found['max_relative_error']:.2g} relative "
            f"({found['max_abs_error']:.2g} absolute, {found['differing_labels']} labels or tokens), more than "
            f"{found['tolerance']:.0e}; {paths.parity(name)} lists the shapes that were tried"
        )
    return found


def quantize_bundle(
    name: str, model: nn.Module, task: Task, samples: Samples, folder: Path, max_loss: float
) -> dict[str, Any]:
    """Replace the graph of a bundle by its int8 one, and return what that loses.

    Raises:
        ExportError: It is more than `max_loss`.
    """
    bundle = load_bundle(folder)
    quantize(bundle.model)
    found = compare(model, task, samples, bundle, bundle.model.read_bytes())
    # A metric of outputs that are not finite is not, either.
    passed = found["loss"] <= max_loss
    text = (
        f"int8 loses {found['loss']:.2%} of the {found['metric']} ({found['float32']:.5g}, then {found['int8']:.5g} on "
        f"{found['rows']} {found['split']} rows)"
    )
    if not passed:
        write_json(paths.parity(name), read_json(paths.parity(name)) | {"passed": False})
        raise ExportError(
            f"{name}: {text}, more than {max_loss:.2%}; raise experiments.{name}.export.max_loss, or leave quantize out"
        )
    print(f"{name}: {text}")
    return found | {"max_loss": max_loss}


def _result(task: Task, evaluation: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    metric, baselines = task.metrics.headline, evaluation["baseline"]
    strongest = (max if task.metrics.higher_is_better else min)(baselines, key=lambda key: baselines[key][metric])
    against = evaluation["against"][strongest]
    return {
        "experiment": evaluation["experiment"],
        "task": evaluation["task"],
        "topology": evaluation["topology"],
        "metric": metric,
        "value": evaluation["test"][metric],
        "seeds": len(evaluation["per_seed"]),
        "seed_mean": evaluation["seed_mean"],
        "seed_std": evaluation["seed_std"],
        "baseline": strongest,
        "baseline_value": baselines[strongest][metric],
        **{key: against[key] for key in ("skill", "interval", "p_value", "test")},
        "parity": f"int8 loses {found['int8']['loss']:.2%}" if "int8" in found else "passed",
        "max_relative_error": found["max_relative_error"],
        "rows": evaluation["test"].get("rows"),
        "gradient_reach": evaluation.get("gradient_reach", {}),
    }
