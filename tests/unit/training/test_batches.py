"""The order in which a split is read, and what a batch is cut to."""

import itertools

import pytest
import torch

from unroll.features.special_tokens import IGNORE_INDEX, PAD
from unroll.training.batches import Batches

CPU = torch.device("cpu")


def sequences(lengths, target_lengths=None, **options):
    """Row r has the numbers 100 r + 1, 100 r + 2, … as inputs and their negatives as targets."""
    lengths = torch.as_tensor(lengths)
    ends = lengths if target_lengths is None else torch.as_tensor(target_lengths)

    def filled(sizes, fill):
        steps = torch.arange(int(sizes.max()))
        numbers = 100 * torch.arange(len(sizes))[:, None] + steps + 1
        return torch.where(steps < sizes[:, None], numbers, fill)

    inputs, targets = filled(lengths, PAD), -filled(ends, -IGNORE_INDEX)
    return Batches(inputs, targets, lengths, None if target_lengths is None else ends, **options)


def windows(count, **options):
    numbers = torch.arange(count * 3).view(count, 3)
    return Batches(numbers, numbers + 1, stateful=True, **options)


def sentences(count=20_000, seed=0):
    """Lengths as sentence pairs have them: of 1 to 24 pieces, the target about as long as the source."""
    generator = torch.Generator().manual_seed(seed)
    lengths = (torch.randn(count, generator=generator) * 4 + 10).round().clamp(1, 24).long()
    targets = (lengths + (torch.randn(count, generator=generator) * 2).round().long()).clamp(1, 26)
    return sequences(lengths, targets)


def listed(order):
    return [index.tolist() for index in order]


# Carried: windows of one stream


def test_the_carried_order_by_hand():
    assert listed(windows(7).order(2)) == [[0, 3], [1, 4], [2, 5]]
    assert listed(windows(7).in_order(3)) == [[0, 3, 6], [1, 4], [2, 5]]


@pytest.mark.parametrize("count", [1, 2, 5, 9, 24, 25])
@pytest.mark.parametrize("size", [1, 2, 4, 8, 30])
def test_each_reader_goes_through_the_stream_in_order(count, size):
    order = windows(count).order(size)
    for before, after in itertools.pairwise(order):
        assert torch.equal(after, before + 1)
    read = torch.cat(order)
    readers = min(size, count)
    assert sorted(read.tolist()) == list(range(count - count % readers))
    assert all(len(index) == readers for index in order)


@pytest.mark.parametrize("count", [1, 2, 5, 9, 24, 25])
@pytest.mark.parametrize("size", [1, 2, 4, 8, 30])
def test_nothing_of_a_stream_is_left_out_of_evaluation(count, size):
    order = windows(count).in_order(size)
    assert sorted(torch.cat(order).tolist()) == list(range(count))
    for before, after in itertools.pairwise(order):
        # A batch's rows are the first ones of the batch before it, a window further: their states can be handed on.
        assert len(after) <= len(before)
        assert torch.equal(after, before[: len(after)] + 1)


def test_the_carried_order_is_no_chance():
    torch.manual_seed(0)
    first = listed(windows(20).order(3))
    torch.manual_seed(1)
    assert listed(windows(20).order(3)) == first


# By chance, or by chance among like lengths


@pytest.mark.parametrize("bucketed", [True, False])
@pytest.mark.parametrize("size", [1, 7, 32, 5000])
@pytest.mark.parametrize("which", ["lengths", "both lengths", "whole"])
def test_every_sample_once_an_epoch(bucketed, size, which):
    torch.manual_seed(3)
    lengths = torch.randint(1, 20, (101,))
    data = sequences(lengths, lengths.flip(0) if which == "both lengths" else None, bucketed=bucketed)
    if which == "whole":
        data = Batches(data.inputs, data.targets, bucketed=bucketed)
    for order in (data.order(size), data.in_order(size)):
        assert sorted(torch.cat(order).tolist()) == list(range(101))
        assert all(1 <= len(index) <= size for index in order)
        assert len(order) == -(-101 // size)


@pytest.mark.parametrize("bucketed", [True, False])
def test_each_epoch_has_its_own_chance_and_a_seed_repeats_it(bucketed):
    data = sequences(torch.arange(60) % 9 + 1, bucketed=bucketed)
    torch.manual_seed(0)
    one, other = listed(data.order(8)), listed(data.order(8))
    torch.manual_seed(0)
    assert listed(data.order(8)) == one
    assert one != other


def test_evaluation_needs_no_chance():
    data = sequences(torch.arange(60) % 9 + 1)
    state = torch.get_rng_state()
    assert listed(data.in_order(8)) == listed(data.in_order(8))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("size", [16, 32, 64])
def test_little_is_padded(size):
    data = sentences()
    torch.manual_seed(0)
    assert data.padding(size) < 0.1
    chance = Batches(data.inputs, data.targets, data.lengths, data.target_lengths, bucketed=False)
    assert chance.padding(size) > 0.25


def test_padding_by_hand():
    data = sequences([2, 2, 3, 4], [1, 2, 4, 4])
    # Two batches: 2 × 2 + 2 × 2 and 2 × 4 + 2 × 4 steps, of which 2 + 2 + 1 + 2 and 3 + 4 + 4 + 4 are filled.
    torch.manual_seed(0)
    assert data.padding(2) == pytest.approx(1 - 22 / 24)
    assert Batches(data.inputs, data.targets).padding(2) == 0


def test_short_batches_do_not_come_first():
    """Only the samples of a batch are alike: batches follow each other by chance."""
    data = sentences()
    torch.manual_seed(0)
    means = [float(data.lengths[index].float().mean()) for index in data.order(32)]
    half = len(means) // 2
    assert abs(sum(means[:half]) - sum(means[half:])) / half < 1.5
    assert means != sorted(means)


def test_samples_of_equal_lengths_do_not_always_meet():
    data = sequences([5] * 40)
    torch.manual_seed(0)
    neighbours = [{frozenset(index.tolist()) for index in data.order(2)} for _ in range(2)]
    assert neighbours[0] != neighbours[1]


# What a batch is


def test_a_batch_is_cut_to_its_longest():
    batch = sequences([2, 9, 1, 4]).at(torch.tensor([2, 0, 3]))
    assert batch.inputs.tolist() == [[201, 0, 0, 0], [1, 2, 0, 0], [301, 302, 303, 304]]
    ignored = IGNORE_INDEX
    assert batch.targets.tolist() == [[-201, *[ignored] * 3], [-1, -2, ignored, ignored], [-301, -302, -303, -304]]
    assert batch.lengths.tolist() == [1, 2, 4]


def test_targets_have_their_own_length():
    batch = sequences([2, 9, 1], [3, 1, 5]).at(torch.tensor([1, 0]))
    assert batch.inputs.shape == (2, 9)
    assert batch.targets.tolist() == [[-101, IGNORE_INDEX, IGNORE_INDEX], [-1, -2, -3]]


def test_targets_alone_may_vary():
    data = sequences([2, 9, 1], [3, 1, 5])
    batch = Batches(data.inputs, data.targets, None, data.target_lengths).at(torch.tensor([1, 0]))
    assert batch.inputs.shape == (2, 9)
    assert batch.lengths is None
    assert batch.targets.shape == (2, 3)


def test_a_batch_without_padding_has_no_lengths():
    """What packs sequences would otherwise do it for nothing."""
    data = sequences([4, 4, 2])
    assert data.at(torch.tensor([0, 1])).lengths is None
    assert data.at(torch.tensor([2])).lengths is None
    assert data.at(torch.tensor([2])).inputs.shape == (1, 2)
    assert data.at(torch.tensor([0, 2])).lengths.tolist() == [4, 2]


@pytest.mark.parametrize(
    "targets",
    [torch.tensor([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0]]), torch.tensor([2, 0])],
    ids=["class probabilities", "class numbers"],
)
def test_targets_of_whole_sequences_are_not_cut(targets):
    """Three classes are no three steps, however short the sequences are."""
    data = Batches(torch.tensor([[5, 0], [6, 7]]), targets, torch.tensor([1, 2]))
    assert torch.equal(data.at(torch.tensor([0])).targets, targets[:1])


def test_frames_are_cut_in_time_alone():
    data = Batches(torch.arange(24.0).view(2, 4, 3), torch.tensor([0, 1]), torch.tensor([2, 4]))
    assert data.at(torch.tensor([0])).inputs.tolist() == [[[0, 1, 2], [3, 4, 5]]]


def test_a_split_has_its_rows(tiny):
    from unroll.training.members import training_split

    samples, task = tiny.samples("translation"), tiny.task("translation")
    index = samples.folds[0].test
    data = training_split(samples, task, index, CPU)
    for name in ("inputs", "targets", "lengths", "target_lengths"):
        assert torch.equal(getattr(data, name), torch.from_numpy(samples.tensors[name][index]))
    assert not data.stateful
    assert training_split(tiny.samples("language_model"), tiny.task("language_model"), index[:3], CPU).stateful
    assert training_split(tiny.samples("price"), tiny.task("price"), index, CPU).lengths is None
