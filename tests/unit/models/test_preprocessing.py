"""Preprocessing modules: values computed by hand, and what every one of them has to do."""

import itertools
import math

import numpy as np
import pytest
import torch

from unroll.models.preprocessing import ByteImages, EwmaReturns, Frames, LogReturns, PriceLevels, Tokens


def test_bytes():
    images = torch.zeros(2, 2, 2, dtype=torch.uint8)
    images[0] = 200
    module = ByteImages()
    module.fit(images, torch.tensor([0, 1]))
    assert (float(module.mean), float(module.deviation)) == (100.0, 100.0)
    assert module.prepare(images).tolist() == [[[1.0, 1.0], [1.0, 1.0]], [[-1.0, -1.0], [-1.0, -1.0]]]


def test_levels():
    inputs = torch.tensor([[[10.0, 100.0], [20.0, 300.0]], [[15.0, 200.0], [30.0, 500.0]]])
    module = PriceLevels(2, 0)
    module.fit(inputs, torch.tensor([0.0, 0.0]))
    assert (module.low.tolist(), module.span.tolist()) == ([10.0, 100.0], [20.0, 400.0])
    assert module.prepare(inputs)[1].tolist() == [[0.25, 0.25], [1.0, 1.0]]
    assert module.encode_target(torch.tensor([40.0]), inputs).tolist() == [1.5]
    assert module.decode(torch.tensor([[1.5], [0.0]]), inputs).tolist() == [40.0, 10.0]
    assert module.decode(torch.zeros(3, 7, 1), inputs).shape == (3, 7)


def test_log_returns():
    """Prices are compared with the known price of the day before, volumes with the volume of the day before."""
    module = LogReturns(3, known=1, volumes=(2,))
    inputs = torch.tensor([[[9.0, 10.0, 100.0], [11.0, 12.0, 200.0], [12.0, 15.0, 50.0]]])
    expected = [
        [math.log(11 / 10), math.log(12 / 10), math.log(200 / 100)],
        [math.log(12 / 12), math.log(15 / 12), math.log(50 / 200)],
    ]
    torch.testing.assert_close(module.prepare(inputs)[0], torch.tensor(expected))
    module.target_deviation.fill_(0.5)
    found = module.encode_target(torch.tensor([18.0]), inputs)
    torch.testing.assert_close(found, torch.tensor([math.log(18 / 15) / 0.5]))
    torch.testing.assert_close(module.decode(torch.tensor([[2.0]]), inputs), torch.tensor([15 * math.exp(1.0)]))


def test_log_returns_are_standardized_on_the_training_split():
    torch.manual_seed(0)
    inputs, targets = torch.exp(torch.randn(200, 6, 2) * 0.1 + 3), torch.exp(torch.randn(200) * 0.1 + 3)
    module = LogReturns(2, 1)
    module.fit(inputs, targets)
    prepared = module.prepare(inputs)
    torch.testing.assert_close(prepared.mean((0, 1)), torch.zeros(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(prepared.std((0, 1)), torch.ones(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(module.encode_target(targets, inputs).std(), torch.ones(()), rtol=0, atol=1e-5)


def ewma_loop(closes, decay, days):
    """Standardized returns and the last volatility, by a plain loop."""
    returns = [math.log(after / before) for before, after in itertools.pairwise(closes)]
    volatility = {}
    for day in range(days - 1, len(returns)):
        weights = [decay**age for age in range(days)]
        squares = [returns[day - age] ** 2 for age in range(days)]
        volatility[day] = math.sqrt(np.dot(weights, squares) / sum(weights))
    return [returns[day] / volatility[day - 1] for day in range(days, len(returns))], volatility[len(returns) - 1]


@pytest.mark.parametrize(("decay", "length", "days"), [(0.8, 12, 10), (0.94, 30, 10), (0.99, 142, 120)])
def test_ewma_against_a_plain_loop(decay, length, days):
    rng = np.random.default_rng(0)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (3, length)), axis=1))
    inputs = torch.from_numpy(closes.astype(np.float32))[:, :, None]
    module = EwmaReturns(decay, days)
    prepared, last = module.prepare(inputs), module.last_volatility(inputs)
    assert prepared.shape == (3, length - 1 - days, 1)
    for row in range(3):
        standardized, volatility = ewma_loop(inputs[row, :, 0].double().tolist(), decay, days)
        np.testing.assert_allclose(prepared[row, :, 0], standardized, rtol=2e-3, atol=1e-4)
        assert float(last[row]) == pytest.approx(volatility, rel=1e-3)


# Frames


def frames(*rows):
    return torch.tensor([[[float(value)] for value in row] for row in rows])


def test_frames_on_the_scale_of_the_training_split():
    module = Frames(1, normalize=False, deltas=False)
    module.fit(frames([1, 5, 99], [3, 99, 99]), torch.zeros(2), torch.tensor([2, 1]))
    assert (float(module.mean), float(module.deviation)) == (3, pytest.approx(2))
    assert module.prepare(frames([5, 3, 99]), torch.tensor([2])).flatten().tolist() == [1, 0, 0]


def test_frames_on_the_scale_of_each_recording():
    module = Frames(1, deltas=False)
    found = module.prepare(frames([1, 3, 99], [2, 2, 8]), torch.tensor([2, 3]))
    root = math.sqrt(8)
    expected = torch.tensor([[-1, 1, 0], [-2 / root, -2 / root, 4 / root]])
    torch.testing.assert_close(found[:, :, 0], expected, rtol=0, atol=1e-5)
    louder = module.prepare(frames([1, 3, 99], [2, 2, 8]) * 7 - 20, torch.tensor([2, 3]))
    torch.testing.assert_close(louder, found, rtol=0, atol=1e-5)


def test_deltas_are_half_the_difference_of_the_neighbors():
    """At both ends, the frame itself replaces the missing neighbor."""
    module = Frames(1, normalize=False)
    found = module.prepare(frames([1, 2, 6, 99], [4, 99, 99, 99], [1, 3, 5, 11]), torch.tensor([3, 1, 4]))
    assert found[0].tolist() == [[1, 0.5], [2, 2.5], [6, 2], [0, 0]]
    assert found[1].tolist() == [[4, 0], [0, 0], [0, 0], [0, 0]]
    assert found[2].tolist() == [[1, 1], [3, 2], [5, 4], [11, 3]]
    scaled = Frames(1).prepare(frames([1, 3, 99]), torch.tensor([2]))
    torch.testing.assert_close(scaled[0], torch.tensor([[-1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]), rtol=0, atol=1e-5)


# What all of them do


@pytest.mark.parametrize("module", [ByteImages(), Tokens(), Frames(2)], ids=lambda module: type(module).__name__)
def test_logits_become_probabilities_and_classes_stay(module):
    targets = torch.tensor([[1, 0]])
    assert module.encode_target(targets, targets) is targets
    found = module.decode(torch.tensor([[0.0, math.log(3.0)]]), targets)
    torch.testing.assert_close(found, torch.tensor([[0.25, 0.75]]))


def constant(kind):
    """A module fitted to inputs without any variation, and such inputs."""
    module, inputs = {
        "bytes": (ByteImages(), torch.zeros(3, 4, 4, dtype=torch.uint8)),
        "levels": (PriceLevels(1, 0), torch.full((2, 3, 1), 5.0)),
        "log returns": (LogReturns(2, 0, volumes=(1,)), torch.tensor([[[5.0, 0.0]] * 4] * 2)),
        "ewma": (EwmaReturns(0.94, 10), torch.full((2, 20, 1), 5.0)),
        "frames": (Frames(2), torch.full((2, 4, 2), 3.0)),
        "frames of the split": (Frames(2, normalize=False), torch.full((2, 4, 2), 3.0)),
    }[kind]
    module.fit(inputs, torch.full((len(inputs),), 5.0))
    return module, inputs


@pytest.mark.parametrize("kind", ["bytes", "levels", "log returns", "ewma", "frames", "frames of the split"])
def test_constant_inputs_stay_finite(kind):
    module, inputs = constant(kind)
    assert torch.isfinite(module.prepare(inputs)).all()
    assert torch.isfinite(module.encode_target(torch.full((len(inputs),), 5.0), inputs)).all()


@pytest.mark.parametrize(
    "make", [lambda: PriceLevels(3, 1), lambda: LogReturns(3, 1, volumes=(2,)), lambda: EwmaReturns(0.94, 15)]
)
def test_decoding_undoes_encoding_and_statistics_are_part_of_the_state(make):
    torch.manual_seed(4)
    inputs = torch.exp(torch.cumsum(torch.randn(20, 30, 3) * 0.02, dim=1) + 4)
    targets = torch.exp(torch.randn(20) * 0.02 + 4)
    module, fresh = make(), make()
    module.fit(inputs, targets)
    decoded = module.decode(module.encode_target(targets, inputs).unsqueeze(-1), inputs)
    torch.testing.assert_close(decoded.reshape(targets.shape), targets, rtol=1e-5, atol=1e-7)
    fresh.load_state_dict(module.state_dict())
    assert torch.equal(fresh.prepare(inputs), module.prepare(inputs))
    assert not list(module.parameters())
