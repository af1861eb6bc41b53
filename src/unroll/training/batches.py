"""A split on the device, and the order in which it is read."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Some samples, cut to the longest of them.

    Attributes:
        inputs: Raw inputs, [sample, time, …].
        targets: Raw targets, [sample, …].
        lengths: Of the inputs, int64 [sample] on the CPU; None where none is padded.
    """

    inputs: Tensor
    targets: Tensor
    lengths: Tensor | None


@dataclass(frozen=True)
class Batches:
    """A split as it lies on the device: a batch is an index into it.

    Attributes:
        inputs: Raw inputs, [sample, time, …], padded on the right where lengths vary.
        targets: Raw targets, [sample, …].
        lengths: Of the inputs, int64 [sample] on the CPU; None where all are whole.
        target_lengths: Of the targets, likewise; None where they have the inputs' lengths, or none.
        stateful: The samples are windows of one stream, in order: a batch goes on where the one before it ended.
        bucketed: Samples of like lengths make a batch, so that little is padded.
    """

    inputs: Tensor
    targets: Tensor
    lengths: Tensor | None = None
    target_lengths: Tensor | None = None
    stateful: bool = False
    bucketed: bool = True

    def __len__(self) -> int:
        return len(self.inputs)

    def order(self, size: int) -> list[Tensor]:
        """One epoch's batches as positions, int64 [sample] on the CPU, by chance of torch's generator.

        Example:
            Stateful, 7 windows and size 2: (0, 3), (1, 4), (2, 5): two readers go through the stream side by side. The
            last window is left out, as is whatever does not fill all readers.
        """
        if self.stateful:
            readers = min(size, len(self))
            steps = len(self) // readers
            return list(torch.arange(readers * steps).view(readers, steps).T)
        chance = torch.randperm(len(self))
        if (self.lengths is None and self.target_lengths is None) or not self.bucketed:
            return list(chance.split(size))
        # Stable sorts leave samples of equal lengths in chance's order.
        for lengths in (self.target_lengths, self.lengths):
            if lengths is not None:
                chance = chance[lengths[chance].argsort(stable=True)]
        batches = chance.split(size)
        return [batches[place] for place in torch.randperm(len(batches))]

    def in_order(self, size: int) -> list[Tensor]:
        """All positions once, for when nothing is learned; of like lengths where they vary.

        Example:
            Stateful, 7 windows and size 3: (0, 3, 6), (1, 4), (2, 5). Readers end from the last one on, so that a
            batch's rows are the first ones of the batch before it.
        """
        if self.stateful:
            steps = -(-len(self) // min(size, len(self)))
            return [torch.arange(step, len(self), steps) for step in range(steps)]
        if self.lengths is None or not self.bucketed:
            return list(torch.arange(len(self)).split(size))
        return list(self.lengths.argsort(stable=True).split(size))

    def at(self, index: Tensor) -> Batch:
        """The samples at positions int64 [sample] on the CPU."""
        there = index.to(self.inputs.device)
        inputs, targets = self.inputs[there], self.targets[there]
        lengths = None if self.lengths is None else self.lengths[index]
        if lengths is not None:
            inputs = inputs[:, : int(lengths.max())]
        target_lengths = lengths if self.target_lengths is None else self.target_lengths[index]
        if target_lengths is not None and targets.dim() > 1 and self.targets_have_steps:
            targets = targets[:, : int(target_lengths.max())]
        if lengths is not None and int(lengths.min()) == inputs.shape[1]:
            lengths = None
        return Batch(inputs, targets, lengths)

    @property
    def targets_have_steps(self) -> bool:
        """Whether the targets' second axis is time: class probabilities are floats, labels of steps whole numbers."""
        return not self.targets.is_floating_point()

    def padding(self, size: int) -> float:
        """Share of an epoch's input and target steps that are padding."""
        steps = filled = 0
        for index in self.order(size):
            for lengths in (self.lengths, self.target_lengths):
                if lengths is not None:
                    steps += len(index) * int(lengths[index].max())
                    filled += int(lengths[index].sum())
        return 1 - filled / steps if steps else 0.0
