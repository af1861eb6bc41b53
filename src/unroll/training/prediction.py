"""Predictions of networks on a split, as the task's metrics take them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from unroll.config.decoding import DecodingConfig
from unroll.config.experiments import Model
from unroll.domains.task import Task
from unroll.features.samples import Samples, Tensors, linspace_indices
from unroll.features.special_tokens import IGNORE_INDEX
from unroll.metrics.metrics import Prediction
from unroll.models.decoding import decode
from unroll.models.generators import EncoderDecoder, Generator, LanguageModel, Network, target_log_probabilities
from unroll.models.network import SequenceNetwork, States
from unroll.training.batches import Batch, Batches, make_batches
from unroll.training.build import combine
from unroll.training.members import load_networks

EVALUATION_ROWS = 1000
"""Batch size without gradients."""
TOKEN_ROWS = 100
"""Batch size where each step has a score for every token of a vocabulary."""
DECODED_ROWS = 500
"""Evenly spaced rows of the validation split that are decoded after each epoch; all of them would take too long."""


def predict(model: nn.Module, task: Task, data: Batches) -> Prediction:
    """Return what the task's metrics take, for every sample in order.

    Args:
        model: From `combine`, on the device of the data, in evaluation mode.
        task: What it has learned.
        data: A split.

    Returns:
        Raw outputs, class probabilities, labels of steps, log probabilities of the targets, or the tokens of the best
        hypothesis: [sample, …], zero-padded to the longest.
    """
    with torch.inference_mode():
        if isinstance(model, LanguageModel):
            parts = [(index, _judged(model, task, output, batch)) for index, batch, output in _run(model, task, data)]
        elif isinstance(model, EncoderDecoder):
            parts = [(index, generate(model, task, data.at(index))) for index in data.ordered(TOKEN_ROWS)]
        else:
            # Metrics take all probabilities of a classifier, but only the labels of a token classifier.
            which = {"label": 1, "labels": 0}.get(task.output)
            parts = []
            for index in data.ordered(EVALUATION_ROWS):
                batch = data.at(index)
                outputs = model(batch.inputs, batch.lengths)
                parts.append((index, outputs if which is None else outputs[which]))
    return _assemble(parts, task, data)


def predict_test(task: Task, model: Model, samples: Samples, folder: Path, seeds: tuple[int, ...]) -> Prediction:
    """Return the mean prediction of the networks of these seeds for the test rows, fold after fold."""
    parts = []
    for fold in samples.folds:
        networks = load_networks(task, model, folder, fold, seeds)
        data = make_batches(samples, task, fold.test, torch.device("cpu"))
        parts.append(predict(combine(task, networks), task, data))
    if parts[0].ndim > 1:
        longest = max(part.shape[1] for part in parts)
        parts = [_pad_steps(torch.from_numpy(part), longest).numpy() for part in parts]
    return np.concatenate(parts)


def validate(network: Network, task: Task, data: Batches, rows: Tensors) -> tuple[float, float]:
    """Return loss and headline metric on a split; for generators, the metric of some rows, decoded greedily."""
    total, count = torch.zeros((), dtype=torch.float64), 0
    parts: list[tuple[Tensor, Tensor]] = []
    with torch.inference_mode():
        for index, batch, output in _run(network, task, data):
            targets = network.encode_target(batch.targets, batch.inputs)
            weight = int((targets != IGNORE_INDEX).sum())
            total += task.loss(output, targets).double().cpu() * weight
            count += weight
            if not isinstance(network, EncoderDecoder):
                parts.append((index, _judged(network, task, output, batch)))
        if isinstance(network, EncoderDecoder):
            some = torch.from_numpy(linspace_indices(len(data), DECODED_ROWS))
            parts = [
                (positions, generate(network, task, data.at(some[positions]), beams=1))
                for positions in torch.arange(len(some)).split(TOKEN_ROWS)
            ]
            rows = {name: tensor[some.numpy()] for name, tensor in rows.items()}
    metrics = task.metrics.score(_assemble(parts, task, data), rows)
    return float(total / count), float(metrics[task.metrics.headline])


def generate(model: Generator, task: Task, batch: Batch, beams: int | None = None) -> Tensor:
    """Return the best hypothesis for each row, token numbers int64 [row, step]."""
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


def _run(network: Network, task: Task, data: Batches) -> Iterator[tuple[Tensor, Batch, Tensor]]:
    """Yield positions, batch and network output of each batch of a split; state is passed on where it is stateful."""
    state: States | None = None
    for index in data.ordered(TOKEN_ROWS if task.target_vocab_size else EVALUATION_ROWS):
        batch = data.at(index)
        if state is not None:
            state = [tuple(part[:, : len(index)] for part in layer) for layer in state]
        output, after = network.output(batch.inputs, batch.lengths, batch.targets, state)
        state = after if data.stateful else None
        yield index, batch, output.float()


def _judged(network: SequenceNetwork, task: Task, output: Tensor, batch: Batch) -> Tensor:
    """Convert the output that the loss compares to the prediction that the metrics take."""
    if isinstance(network, LanguageModel):
        return target_log_probabilities(output, batch.targets)
    decoded: Tensor = network.preprocessing.decode(output, batch.inputs)
    return decoded.argmax(-1) if task.output == "labels" else decoded


def _assemble(parts: Sequence[tuple[Tensor, Tensor]], task: Task, data: Batches) -> Prediction:
    """Put batches at their positions in one array, zero-padded on the right; in step, to all steps of the inputs."""
    rows = sum(len(index) for index, _ in parts)
    if parts[0][1].dim() > 1:
        longest = max(data.inputs.shape[1] if task.every_step else 0, *(part.shape[1] for _, part in parts))
        parts = [(index, _pad_steps(part, longest)) for index, part in parts]
    first = parts[0][1]
    whole = first.new_zeros((rows, *first.shape[1:]), device="cpu")
    for index, part in parts:
        whole[index] = part.cpu()
    outputs: Prediction = whole.numpy()
    return outputs


def _pad_steps(part: Tensor, steps: int) -> Tensor:
    """Pad [row, step, …] with zeros to this many steps."""
    return torch.cat([part, part.new_zeros((len(part), steps - part.shape[1], *part.shape[2:]))], dim=1)
