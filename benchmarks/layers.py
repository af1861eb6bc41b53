"""Recurrent layers over padded sequences: the project's beside torch's own on packed ones, as tutorials write it."""

import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.figures import Figure, Report, compare, side_by_side
from unroll.models.recurrent import RecurrentLayer

# Cell, features, units, bidirectional, steps; at least so many times as fast.
CASES = (
    ("lstm", 128, 256, False, 12, 1.6),
    ("lstm", 128, 128, True, 30, 1.6),
    ("lstm", 128, 128, True, 60, 1.6),
    ("gru", 26, 64, True, 60, 0.9),
)
BATCH = 64
REPEATS = 15


def measure() -> Report:
    """Run forward and backward with both, in turn, one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        figures = tuple(_compare(*case) for case in CASES)
    finally:
        torch.set_num_threads(threads)
    note = (
        f"Forward and backward of one layer on a batch of {BATCH} sequences whose lengths are even between 80 % and "
        "100 % of the steps, in milliseconds of processor time, one thread. Ours: `RecurrentLayer`. Reference: the "
        "same layer of torch on packed sequences, padded again."
    )
    return Report("Recurrent layers on padded sequences", figures, note)


def _compare(cell: str, features: int, units: int, bidirectional: bool, steps: int, target: float) -> Figure:
    layer = RecurrentLayer(cell, features, units, bidirectional=bidirectional)
    inputs = torch.randn(BATCH, steps, features, requires_grad=True)
    lengths = torch.linspace(0.8 * steps, steps, BATCH).round().long()

    def packed() -> Tensor:
        outputs, _ = layer.rnn(pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False))
        return pad_packed_sequence(outputs, batch_first=True, total_length=steps)[0]

    def milliseconds(run: Callable[[], Tensor]) -> float:
        began = time.process_time()
        run().sum().backward()
        return 1000 * (time.process_time() - began)

    ours, reference = side_by_side(
        lambda: milliseconds(lambda: layer(inputs, lengths)[0]), lambda: milliseconds(packed), REPEATS
    )
    name = f"{'bidirectional ' * bidirectional}{cell.upper()} {features} → {units}, {steps} steps"
    return compare(name, ours, reference, "ms", target=1 / target, at_least=False)
