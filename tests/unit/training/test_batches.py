"""The order in which a split is read, and what a batch is cut to."""

import itertools

import pytest
import torch
from small_trainings import CPU

from unroll.errors import ParameterError
from unroll.features.special_tokens import IGNORE_INDEX, PAD
from unroll.training.batches import Batches, make_batches, pick_device


def sequences(lengths, target_lengths=None):
    """Row r has the numbers 100 r + 1, 100 r + 2, … as inputs and their negatives as targets."""
    lengths = torch.as_tensor(lengths)
    ends = lengths if target_lengths is None else torch.as_tensor(target_lengths)

    def filled(sizes, fill):
        steps = torch.arange(int(sizes.max()))
        numbers = 100 * torch.arange(len(sizes))[:, None] + steps + 1
        return torch.where(steps < sizes[:, None], numbers, fill)

    inputs, targets = filled(lengths, PAD), -filled(ends, -IGNORE_INDEX)
    return Batches(inputs, targets, lengths, None if target_lengths is None else ends)


def windows(count):
    numbers = torch.arange(count * 3).view(count, 3)
    return Batches(numbers, numbers + 1, stateful=True)


def listed(batches):
    return [index.tolist() for index in batches]


def test_windows_of_a_stream_are_read_in_order():
    assert listed(windows(7).shuffled(2)) == [[0, 3], [1, 4], [2, 5]]
    assert listed(windows(7).ordered(3)) == [[0, 3, 6], [1, 4], [2, 5]]


@pytest.mark.parametrize(("count", "size"), [(1, 4), (5, 2), (9, 4), (24, 8), (25, 30)])
def test_every_reader_of_a_stream_continues_where_it_was(count, size):
    order = windows(count).shuffled(size)
    readers = min(size, count)
    assert sorted(torch.cat(order).tolist()) == list(range(count - count % readers))
    assert all(torch.equal(after, before + 1) for before, after in itertools.pairwise(order))
    order = windows(count).ordered(size)
    assert sorted(torch.cat(order).tolist()) == list(range(count))
    assert all(torch.equal(after, before[: len(after)] + 1) for before, after in itertools.pairwise(order))


@pytest.mark.parametrize("size", [1, 7, 5000])
@pytest.mark.parametrize("which", ["lengths", "both lengths", "fixed length"])
def test_every_sample_is_read_once_an_epoch(size, which):
    torch.manual_seed(3)
    lengths = torch.randint(1, 20, (101,))
    data = sequences(lengths, lengths.flip(0) if which == "both lengths" else None)
    if which == "fixed length":
        data = Batches(data.inputs, data.targets)
    for order in (data.shuffled(size), data.ordered(size)):
        assert sorted(torch.cat(order).tolist()) == list(range(101))
        assert len(order) == -(-101 // size)


def test_epochs_differ_and_a_seed_repeats_them():
    data = sequences(torch.arange(60) % 9 + 1)
    torch.manual_seed(0)
    one, other = listed(data.shuffled(8)), listed(data.shuffled(8))
    torch.manual_seed(0)
    assert listed(data.shuffled(8)) == one != other
    assert {frozenset(index) for index in one} != {frozenset(index) for index in other}
    state = torch.get_rng_state()
    assert listed(data.ordered(8)) == listed(data.ordered(8))
    assert torch.equal(torch.get_rng_state(), state)


def test_batches_have_similar_lengths_and_come_in_random_order():
    """On lengths like those of sentence pairs, where the target is about as long as the source."""
    generator = torch.Generator().manual_seed(0)
    lengths = (torch.randn(5000, generator=generator) * 4 + 10).round().clamp(1, 24).long()
    targets = (lengths + (torch.randn(5000, generator=generator) * 2).round().long()).clamp(1, 26)
    torch.manual_seed(0)
    order = sequences(lengths, targets).shuffled(32)

    def padding(batches):
        steps = sum(len(index) * int(one[index].max()) for index in batches for one in (lengths, targets))
        return 1 - int(lengths.sum() + targets.sum()) / steps

    assert padding(order) < 0.12
    assert padding(torch.randperm(5000).split(32)) > 0.25
    means = [float(lengths[index].float().mean()) for index in order]
    half = len(means) // 2
    assert abs(sum(means[:half]) - sum(means[half:])) / half < 2


def test_a_batch_is_cut_to_its_longest_sample():
    batch = sequences([2, 9, 1, 4]).at(torch.tensor([2, 0, 3]))
    ignored = IGNORE_INDEX
    assert batch.inputs.tolist() == [[201, 0, 0, 0], [1, 2, 0, 0], [301, 302, 303, 304]]
    assert batch.targets.tolist() == [[-201, *[ignored] * 3], [-1, -2, ignored, ignored], [-301, -302, -303, -304]]
    assert batch.lengths.tolist() == [1, 2, 4]
    batch = sequences([2, 9, 1], [3, 1, 5]).at(torch.tensor([1, 0]))
    assert batch.inputs.shape == (2, 9)
    assert batch.targets.tolist() == [[-101, IGNORE_INDEX, IGNORE_INDEX], [-1, -2, -3]]


def test_a_batch_without_padding_has_no_lengths():
    data = sequences([4, 4, 2])
    assert data.at(torch.tensor([0, 1])).lengths is None
    assert data.at(torch.tensor([2])).lengths is None
    assert data.at(torch.tensor([0, 2])).lengths.tolist() == [4, 2]


@pytest.mark.parametrize("targets", [torch.tensor([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0]]), torch.tensor([2, 0])])
def test_targets_of_whole_sequences_are_not_cut(targets):
    """Three class probabilities are not three steps."""
    data = Batches(torch.tensor([[5, 0], [6, 7]]), targets, torch.tensor([1, 2]))
    assert torch.equal(data.at(torch.tensor([0])).targets, targets[:1])


def test_batches_of_a_split_have_its_samples(tiny):
    samples, task = tiny.samples("translation"), tiny.task("translation")
    index = samples.shipped.test
    data = make_batches(samples, task, index, CPU)
    for name in ("inputs", "targets", "lengths", "target_lengths"):
        assert torch.equal(getattr(data, name), torch.from_numpy(samples.tensors[name][index]))
    assert not data.stateful
    assert make_batches(tiny.samples("language_model"), tiny.task("language_model"), index[:3], CPU).stateful
    assert make_batches(tiny.samples("price"), tiny.task("price"), index, CPU).lengths is None


def test_devices():
    assert pick_device("cpu") == CPU
    if not torch.cuda.is_available():
        assert pick_device("auto") == CPU
        with pytest.raises(ParameterError):
            pick_device("cuda")
