"""The networks of an experiment: one a fold and seed, trained, stored, read back and asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unroll.config.decoding import DecodingConfig
from unroll.config.experiments import Model, Training
from unroll.domains.task import Task
from unroll.errors import DataError, ParameterError
from unroll.features.samples import Fold, Index, Samples, Tensors, linspace_indices
from unroll.features.special_tokens import IGNORE_INDEX
from unroll.files import replacing
from unroll.metrics.metrics import Prediction
from unroll.models.decoding import decode
from unroll.models.generators import EncoderDecoder, Generator, LanguageModel, chosen_log_probabilities
from unroll.models.network import Classifier, Ensemble, SequenceNetwork, States, TokenClassifier
from unroll.training.batches import Batch, Batches
from unroll.training.build import build_model
from unroll.training.loop import Network

EVALUATION_ROWS = 1000
"""Rows of a batch where no gradient is needed."""
WRITTEN_ROWS = 100
"""The same where each step of a row has a score for every token of a vocabulary."""
VALIDATION_ROWS = 500
"""Rows of the validation split, evenly spaced, that are decoded after an epoch: all would take longer than it."""


@dataclass(frozen=True)
class Member:
    """One network of an experiment."""

    fold: str
    seed: int

    @property
    def file(self) -> str:
        """Name of its weights' file."""
        return f"{self.fold}-seed{self.seed}.safetensors"


def members(samples: Samples, training: Training) -> list[Member]:
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


def training_split(samples: Samples, task: Task, index: Index, device: torch.device) -> Batches:
    """The samples of a split as tensors on the device."""

    def part(name: str) -> Tensor | None:
        return torch.from_numpy(samples.tensors[name][index]) if name in samples.tensors else None

    inputs, targets = (torch.from_numpy(samples.tensors[name][index]).to(device) for name in ("inputs", "targets"))
    return Batches(inputs, targets, part("lengths"), part("target_lengths"), stateful=task.stateful)


def new_network(task: Task, model: Model, data: Batches, seed: int, vectors: Tensor | None = None) -> Network:
    """A network with weights drawn by the seed and units fitted on the training split.

    Args:
        task: What it is to learn.
        model: Its parameters.
        data: The training split.
        seed: Of the weights.
        vectors: float32 [vocabulary, size] for an embedding that begins with them.

    Raises:
        ParameterError: The model cannot do the task, or the vectors are missing or of another size.
    """
    torch.manual_seed(seed)
    network = build_model(task, model, vectors)
    network.preprocessing.fit(data.inputs.cpu(), data.targets.cpu(), data.lengths)
    return network.to(data.inputs.device)


def save_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """Writes weights and fitted units whole."""
    with replacing(path) as part:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, part)


def load_networks(task: Task, model: Model, folder: Path, fold: str, seeds: tuple[int, ...]) -> list[Network]:
    """The trained networks of a fold, in evaluation mode on the CPU.

    Raises:
        DataError: The weights are missing, or of other parameters.
    """
    networks: list[Network] = []
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
        networks.append(network.eval())
    return networks


def whole_model(task: Task, networks: Sequence[Network]) -> nn.Module:
    """What is evaluated and exported of several networks: their mean with its decision, or the one that writes."""
    if task.output == "tokens":
        return networks[0]
    ensemble = Ensemble(networks).eval()
    if task.output == "label":
        return Classifier(ensemble).eval()
    return TokenClassifier(ensemble).eval() if task.output == "labels" else ensemble


def predict(model: nn.Module, task: Task, data: Batches) -> Prediction:
    """What the task's metrics judge, for every sample in order.

    Args:
        model: Of `whole_model`, on the device of the data.
        task: What it has learned.
        data: A split.

    Returns:
        Raw outputs, class probabilities, labels of steps, log probabilities of the targets, or the tokens of the best
        hypothesis: [sample, …], padded with zeros to the longest.
    """
    parts: list[tuple[Tensor, Tensor]] = []
    state: States | None = None
    model.eval()
    with torch.inference_mode():
        for index in data.in_order(WRITTEN_ROWS if task.target_vocab_size else EVALUATION_ROWS):
            batch = data.at(index)
            if isinstance(model, LanguageModel):
                if state is not None:
                    state = [tuple(part[:, : len(index)] for part in layer) for layer in state]
                found, after = model.log_probabilities(batch.inputs, batch.targets, batch.lengths, state)
                state = after if data.stateful else None
            elif isinstance(model, EncoderDecoder):
                found = written(model, task, batch)
            else:
                outputs = model(batch.inputs, batch.lengths)
                # A classifier's metrics want all probabilities, a token classifier's the labels alone.
                found = outputs if isinstance(outputs, Tensor) else outputs[1 if task.output == "label" else 0]
            parts.append((index, found.cpu()))
    return _together(parts, len(data), data.inputs.shape[1] if task.every_step else 0)


def written(model: Generator, task: Task, batch: Batch, beams: int | None = None) -> Tensor:
    """The best hypothesis for each row: token numbers int64 [row, step]."""
    decoding = task.decoding or DecodingConfig()
    tokens, _ = decode(
        model,
        batch.inputs,
        batch.lengths,
        max_length=decoding.max_length,
        beams=beams or decoding.beams,
        length_penalty=decoding.length_penalty,
    )
    return tokens[:, 0]


def _together(parts: list[tuple[Tensor, Tensor]], rows: int, steps: int) -> Prediction:
    """Batches with their positions as one array, padded with zeros on the right to so many steps at least."""
    first = parts[0][1]
    if first.dim() > 1:
        widest = max(steps, *(part.shape[1] for _, part in parts))
        parts = [(index, pad_steps(part, widest)) for index, part in parts]
        first = parts[0][1]
    whole = first.new_zeros((rows, *first.shape[1:]))
    for index, part in parts:
        whole[index] = part
    outputs: Prediction = whole.numpy()
    return outputs


def pad_steps(part: Tensor, steps: int) -> Tensor:
    """[row, step, …] with zeros up to so many steps."""
    return torch.cat([part, part.new_zeros((len(part), steps - part.shape[1], *part.shape[2:]))], dim=1)


def validate(network: Network, task: Task, data: Batches, rows: Tensors) -> tuple[float, float]:
    """Loss and headline metric on a split; of what is decoded, the metric on some of its rows, greedily."""
    total = torch.zeros((), dtype=torch.float64)
    targets_there = 0
    parts: list[tuple[Tensor, Tensor]] = []
    state: States | None = None
    with torch.inference_mode():
        for index in data.in_order(WRITTEN_ROWS if task.target_vocab_size else EVALUATION_ROWS):
            batch = data.at(index)
            if state is not None:
                state = [tuple(part[:, : len(index)] for part in layer) for layer in state]
            output, after = network.output(batch.inputs, batch.lengths, batch.targets, state)
            state = after if data.stateful else None
            targets = network.preprocessing.encode_target(batch.targets, batch.inputs)
            weight = int((targets != IGNORE_INDEX).sum())
            total += task.loss(output, targets).double().cpu() * weight
            targets_there += weight
            if not isinstance(network, EncoderDecoder):
                parts.append((index, _judged(network, task, output, batch).cpu()))
        if isinstance(network, EncoderDecoder):
            some = torch.from_numpy(linspace_indices(len(data), VALIDATION_ROWS))
            parts = [
                (places, written(network, task, data.at(some[places]), beams=1).cpu())
                for places in torch.arange(len(some)).split(WRITTEN_ROWS)
            ]
            rows = {name: tensor[some.numpy()] for name, tensor in rows.items()}
    count = sum(len(index) for index, _ in parts)
    prediction = _together(parts, count, data.inputs.shape[1] if task.every_step else 0)
    return float(total / targets_there), float(task.metrics.score(prediction, rows)[task.metrics.headline])


def _judged(network: SequenceNetwork, task: Task, output: Tensor, batch: Batch) -> Tensor:
    """What metrics judge, from what the loss compares."""
    if isinstance(network, LanguageModel):
        return chosen_log_probabilities(output.float(), batch.targets)
    decoded: Tensor = network.preprocessing.decode(output.float(), batch.inputs)
    return decoded.argmax(-1) if task.output == "labels" else decoded


def predict_test(task: Task, model: Model, samples: Samples, folder: Path, seeds: tuple[int, ...]) -> Prediction:
    """What the networks of these seeds, averaged, give for the test rows of each fold, fold after fold."""
    parts = []
    for fold in samples.folds:
        networks = load_networks(task, model, folder, fold.name, seeds)
        data = training_split(samples, task, fold.test, torch.device("cpu"))
        parts.append(predict(whole_model(task, networks), task, data))
    if parts[0].ndim > 1:
        widest = max(part.shape[1] for part in parts)
        parts = [pad_steps(torch.from_numpy(part), widest).numpy() for part in parts]
    return np.concatenate(parts)


def last_fold(samples: Samples) -> Fold:
    """The fold whose networks have seen the most data: the one that is shipped."""
    return samples.folds[-1]
