"""The networks of an experiment: one a fold and seed, trained, stored, read back and asked."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unroll import params
from unroll.errors import DataError, ParameterError
from unroll.features.samples import Fold, Index, Samples, Tensors
from unroll.files import replacing
from unroll.models.network import Ensemble, SequenceNetwork
from unroll.tasks.task import Prediction, Task
from unroll.training.build import build_model
from unroll.training.loop import Batches

EVALUATION_ROWS = 1000
"""Rows of a batch where no gradient is needed."""


@dataclass(frozen=True)
class Member:
    """One network of an experiment."""

    fold: str
    seed: int

    @property
    def file(self) -> str:
        """Name of its weights' file."""
        return f"{self.fold}-seed{self.seed}.safetensors"


def members(samples: Samples, training: params.Training) -> list[Member]:
    """Every fold with every seed."""
    return [Member(fold.name, seed) for fold in samples.folds for seed in training.seeds]


def pick_device(wanted: str) -> torch.device:
    """The device to train on.

    Raises:
        ParameterError: CUDA is asked for, and not there.
    """
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise ParameterError("training.device is cuda, but torch sees no CUDA device; use auto or cpu")
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")


def training_split(samples: Samples, index: Index, device: torch.device) -> Batches:
    """The samples of a split as tensors on the device."""
    return Batches(*(torch.from_numpy(samples.tensors[name][index]).to(device) for name in ("inputs", "targets")))


def new_network(task: Task, model: params.Model, data: Batches, seed: int) -> SequenceNetwork:
    """A network with weights drawn by the seed and units fitted on the training split."""
    torch.manual_seed(seed)
    network = build_model(task, model)
    network.units.fit(data.inputs.cpu(), data.targets.cpu())
    return network.to(data.inputs.device)


def save_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """Writes weights and fitted units whole."""
    with replacing(path) as part:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, part)


def load_ensemble(task: Task, model: params.Model, folder: Path, fold: str, seeds: tuple[int, ...]) -> Ensemble:
    """The trained networks of a fold, in evaluation mode on the CPU.

    Raises:
        DataError: The weights are missing, or of other parameters.
    """
    networks = []
    for seed in seeds:
        network = build_model(task, model)
        path = folder / Member(fold, seed).file
        try:
            network.load_state_dict(load_file(path))
        except (FileNotFoundError, RuntimeError, SafetensorError) as error:
            raise DataError(
                f"{path} does not fit the parameters of {folder.parent.name} ({' '.join(str(error).split())[:160]}); "
                f"run `unroll train {folder.parent.name}` first"
            ) from error
        networks.append(network)
    return Ensemble(networks).eval()


def predict(network: torch.nn.Module, inputs: Tensor) -> Prediction:
    """Raw outputs for raw inputs, batch by batch, in evaluation mode."""
    network.eval()
    with torch.inference_mode():
        parts = [network(batch) for batch in inputs.split(EVALUATION_ROWS)]
    outputs: Prediction = torch.cat(parts).cpu().numpy()
    return outputs


def validate(network: SequenceNetwork, task: Task, data: Batches, rows: Tensors) -> tuple[float, float]:
    """Loss and headline metric on a split."""
    losses, outputs = [], []
    with torch.inference_mode():
        for positions in torch.arange(len(data)).split(EVALUATION_ROWS):
            inputs, targets = data.inputs[positions], data.targets[positions]
            output = network.output(inputs)
            loss = task.loss(output, network.units.encode_target(targets, inputs))
            losses.append(float(loss) * len(inputs))
            outputs.append(network.units.decode(output, inputs))
    prediction = torch.cat(outputs).float().cpu().numpy()
    return sum(losses) / len(data), float(task.metrics(prediction, rows)[task.headline])


def predict_test(task: Task, model: params.Model, samples: Samples, folder: Path, seeds: tuple[int, ...]) -> Prediction:
    """What the networks of these seeds, averaged, give for the test rows of each fold, fold after fold."""
    parts = []
    for fold in samples.folds:
        ensemble = load_ensemble(task, model, folder, fold.name, seeds)
        parts.append(predict(ensemble, torch.from_numpy(samples.tensors["inputs"][fold.test])))
    return np.concatenate(parts)


def last_fold(samples: Samples) -> Fold:
    """The fold whose networks have seen the most data: the one that is shipped."""
    return samples.folds[-1]
