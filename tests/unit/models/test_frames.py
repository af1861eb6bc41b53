"""Units of sound: each recording's own scale, and how it changes, by hand."""

import math

import pytest
import torch

from unroll.models.preprocessing import Frames


def frames(*rows):
    return torch.tensor([[[float(value)] for value in row] for row in rows])


def plain(**options):
    return Frames(1, **{"normalize": False, "deltas": False, **options})


def test_the_training_splits_scale_by_hand():
    units = plain()
    units.fit(frames([1, 5, 99], [3, 99, 99]), torch.zeros(2), torch.tensor([2, 1]))
    assert float(units.mean) == 3
    assert float(units.deviation) == pytest.approx(2)
    found = units.prepare(frames([5, 3, 99]), torch.tensor([2]))
    assert found.flatten().tolist() == [1, 0, 0]


def test_a_recordings_own_scale_by_hand():
    """Whatever the training split was like."""
    units = plain(normalize=True)
    units.fit(frames([100, 200, 300]), torch.zeros(1))
    found = units.prepare(frames([1, 3, 99], [2, 2, 8]), torch.tensor([2, 3]))
    root = math.sqrt(8)
    expected = [[-1, 1, 0], [-2 / root, -2 / root, 4 / root]]
    torch.testing.assert_close(found[:, :, 0], torch.tensor(expected), rtol=0, atol=1e-5)


def test_loudness_is_taken_out():
    units = Frames(2, deltas=False)
    generator = torch.Generator().manual_seed(0)
    inputs, lengths = torch.randn(3, 8, 2, generator=generator), torch.tensor([8, 5, 2])
    expected = units.prepare(inputs, lengths)
    torch.testing.assert_close(units.prepare(inputs * 7 - 20, lengths), expected, rtol=0, atol=1e-3)


def test_changes_by_hand():
    """Half of what comes after less what came before; at both ends the frame itself stands for what is missing."""
    units = plain(deltas=True)
    found = units.prepare(frames([1, 2, 6, 99], [4, 99, 99, 99], [1, 3, 5, 11]), torch.tensor([3, 1, 4]))
    assert found[0].tolist() == [[1, 0.5], [2, 2.5], [6, 2], [0, 0]]
    assert found[1].tolist() == [[4, 0], [0, 0], [0, 0], [0, 0]]
    assert found[2].tolist() == [[1, 1], [3, 2], [5, 4], [11, 3]]


def test_changes_are_of_the_scaled_frames():
    units = Frames(1)
    found = units.prepare(frames([1, 3, 99]), torch.tensor([2]))
    torch.testing.assert_close(found[0], torch.tensor([[-1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("deltas", [False, True])
def test_shape_is_the_docstrings(normalize, deltas):
    units = Frames(3, normalize=normalize, deltas=deltas)
    assert units.prepare(torch.randn(2, 5, 3), torch.tensor([5, 1])).shape == (2, 5, 6 if deltas else 3)
    assert units.prepare(torch.randn(2, 5, 3)).shape == (2, 5, 6 if deltas else 3)


def test_a_still_recording_stays_finite():
    units = Frames(2)
    units.fit(torch.full((2, 4, 2), 3.0), torch.zeros(2))
    assert torch.isfinite(units.prepare(torch.full((1, 4, 2), 3.0))).all()
    assert torch.isfinite(units.prepare(torch.full((1, 1, 2), 3.0))).all()
    still = plain()
    still.fit(frames([5, 5, 5]), torch.zeros(1))
    assert torch.isfinite(still.prepare(frames([5, 6]))).all()


def test_scale_travels_with_the_weights_and_is_not_trained():
    units, other = plain(), plain()
    units.fit(frames([1, 5]), torch.zeros(1))
    other.load_state_dict(units.state_dict())
    assert torch.equal(other.prepare(frames([7])), units.prepare(frames([7])))
    assert not list(units.parameters())


def test_outputs_are_probabilities():
    units = Frames(1)
    labels = torch.tensor([1, 0])
    assert units.encode_target(labels, torch.zeros(2, 1, 1)) is labels
    found = units.decode(torch.tensor([[0.0, math.log(3.0)]]), torch.empty(0))
    torch.testing.assert_close(found, torch.tensor([[0.25, 0.75]]))
