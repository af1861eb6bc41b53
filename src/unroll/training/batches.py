"""A split on the device, and the batches in which it is read."""

from dataclasses import dataclass

import torch
from torch import Tensor

from unroll.domains.task import Task
from unroll.errors import ParameterError
from unroll.features.samples import Index, Samples


@dataclass(frozen=True)
class Batch:
    """Some samples, cut to the longest of them.

    Attributes:
        inputs: Raw inputs, [sample, time, …].
        targets: Raw targets, [sample, …].
        lengths: Lengths of the inputs, int64 [sample] on the CPU; None if none is padded.
    """

    inputs: Tensor
    targets: Tensor
    lengths: Tensor | None


@dataclass(frozen=True)
class Batches:
    """A split as tensors on the device; a batch is an index into them.

    Attributes:
        inputs: Raw inputs, [sample, time, …], right-padded where lengths vary.
        targets: Raw targets, [sample, …].
        lengths: Lengths of the inputs, int64 [sample] on the CPU; None without padding.
        target_lengths: Lengths of the targets, in the same form; None if they have the inputs' lengths, or no steps.
        stateful: The samples are consecutive windows of one stream: each batch continues where the previous one ended.
    """

    inputs: Tensor
    targets: Tensor
    lengths: Tensor | None = None
    target_lengths: Tensor | None = None
    stateful: bool = False

    def __len__(self) -> int:
        return len(self.inputs)

    def shuffled(self, size: int) -> list[Tensor]:
        """Return the positions of an epoch's batches, int64 [sample] on the CPU, shuffled by torch's generator.

        Samples of similar lengths share a batch, so that little is padded.

        Example:
            Stateful, 7 windows and size 2: (0, 3), (1, 4), (2, 5): two readers go through the stream side by side.
            What does not fill all readers is left out, here the last window.
        """
        if self.stateful:
            readers = min(size, len(self))
            steps = len(self) // readers
            return list(torch.arange(readers * steps).view(readers, steps).T)
        order = torch.randperm(len(self))
        if self.lengths is None and self.target_lengths is None:
            return list(order.split(size))
        # Stable sorts keep the random order among equal lengths.
        for lengths in (self.target_lengths, self.lengths):
            if lengths is not None:
                order = order[lengths[order].argsort(stable=True)]
        batches = order.split(size)
        return [batches[position] for position in torch.randperm(len(batches))]

    def ordered(self, size: int) -> list[Tensor]:
        """Return batches of all positions once, for evaluation; of similar lengths where they vary.

        Example:
            Stateful, 7 windows and size 3: (0, 3, 6), (1, 4), (2, 5). The last readers end first, so that the rows of a
            batch are the first ones of the previous batch.
        """
        if self.stateful:
            steps = -(-len(self) // min(size, len(self)))
            return [torch.arange(step, len(self), steps) for step in range(steps)]
        if self.lengths is None:
            return list(torch.arange(len(self)).split(size))
        return list(self.lengths.argsort(stable=True).split(size))

    def at(self, index: Tensor) -> Batch:
        """Return the samples at positions int64 [sample] on the CPU."""
        on_device = index.to(self.inputs.device)
        inputs, targets = self.inputs[on_device], self.targets[on_device]
        lengths = None if self.lengths is None else self.lengths[index]
        if lengths is not None:
            inputs = inputs[:, : int(lengths.max())]
        target_lengths = lengths if self.target_lengths is None else self.target_lengths[index]
        # Whole numbers along a second axis are labels of steps; floats there are class probabilities.
        if target_lengths is not None and targets.dim() > 1 and not targets.is_floating_point():
            targets = targets[:, : int(target_lengths.max())]
        if lengths is not None and int(lengths.min()) == inputs.shape[1]:
            lengths = None
        return Batch(inputs, targets, lengths)


def make_batches(samples: Samples, task: Task, index: Index, device: torch.device) -> Batches:
    """Return the samples at int64 [position] as tensors on the device; token numbers become int64."""

    def part(name: str) -> Tensor:
        found = torch.from_numpy(samples.tensors[name][index])
        return found.long() if found.dtype == torch.int32 else found

    inputs, targets = (part(name).to(device) for name in ("inputs", "targets"))
    lengths, target_lengths = (
        part(name) if name in samples.tensors else None for name in ("lengths", "target_lengths")
    )
    return Batches(inputs, targets, lengths, target_lengths, stateful=task.stateful)


def pick_device(wanted: str) -> torch.device:
    """Return the device to train on: `auto`, `cpu` or `cuda`.

    Raises:
        ParameterError: CUDA is asked for, and not available.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise ParameterError("training.device is cuda, but torch finds no CUDA device; use auto or cpu")
    return torch.device("cuda" if available and wanted != "cpu" else "cpu")
