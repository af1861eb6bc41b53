"""Heads, units and whole networks: values by hand, shapes and dtypes as the docstrings tell them."""

import itertools
import math

import numpy as np
import pytest
import torch

from unroll.models.dense import DenseEncoder
from unroll.models.heads import LinearHead, MonotoneQuantileHead
from unroll.models.network import Classifier, Ensemble, SequenceNetwork, last_state
from unroll.models.preprocessing import ByteImages, EwmaReturns, LogReturns, PriceLevels
from unroll.models.recurrent import RecurrentEncoder

LEVELS = [
    (0.1, 0.5, 0.9),
    (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99),
]
every_levels = pytest.mark.parametrize("levels", LEVELS, ids=str)


@every_levels
def test_quantiles_begin_as_the_normals(levels):
    from scipy.stats import norm

    found = MonotoneQuantileHead(4, levels)(torch.randn(3, 4))
    assert found.shape == (3, len(levels))
    np.testing.assert_allclose(found.detach(), np.tile(norm.ppf(levels), (3, 1)), atol=2e-6)


@every_levels
@pytest.mark.parametrize("size", [0.1, 1.0, 30.0])
def test_quantiles_rise_whatever_the_weights(levels, size):
    torch.manual_seed(0)
    head = MonotoneQuantileHead(4, levels)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_(0, size)
    assert (head(torch.randn(200, 4)).diff(dim=1) >= 0).all()


def test_quantiles_by_hand():
    head = MonotoneQuantileHead(1, (0.1, 0.3, 0.5, 0.7, 0.9))
    with torch.no_grad():
        head.linear.weight.zero_()
        head.linear.bias.copy_(torch.tensor([1.0, 2.0, 0.5, -1.0, 3.0]))
    a, b, c, d = (math.log1p(math.exp(value)) for value in (1.0, 2.0, -1.0, 3.0))
    expected = torch.tensor([[0.5 - b - a, 0.5 - b, 0.5, 0.5 + c, 0.5 + c + d]])
    torch.testing.assert_close(head(torch.ones(1, 1)).detach(), expected)


@every_levels
def test_every_quantile_can_be_trained(levels):
    head = MonotoneQuantileHead(3, levels)
    (head(torch.randn(5, 3)) - 3).square().sum().backward()
    assert head.linear.weight.grad.abs().sum(1).all()
    assert head.linear.bias.grad.all()


def test_a_head_that_starts_at_zero_gives_zero():
    head = LinearHead(4, 1, start_at_zero=True)
    assert not head(torch.randn(3, 4)).any()
    assert LinearHead(4, 1)(torch.randn(3, 4)).all()


# Units


def test_bytes_by_hand():
    images = torch.zeros(2, 2, 2, dtype=torch.uint8)
    images[0] = 200
    units = ByteImages()
    units.fit(images, torch.tensor([0, 1]))
    assert (float(units.mean), float(units.deviation)) == (100.0, 100.0)
    prepared = units.prepare(images)
    assert prepared.dtype == torch.float32
    assert prepared.tolist() == [[[1.0, 1.0], [1.0, 1.0]], [[-1.0, -1.0], [-1.0, -1.0]]]


def test_bytes_are_standardised():
    images = torch.randint(0, 256, (50, 28, 28), dtype=torch.uint8)
    units = ByteImages()
    units.fit(images, torch.zeros(50))
    prepared = units.prepare(images)
    assert abs(float(prepared.mean())) < 1e-5
    assert abs(float(prepared.std(correction=0)) - 1) < 1e-5


def test_blank_images_do_not_divide_by_zero():
    units = ByteImages()
    units.fit(torch.zeros(3, 28, 28, dtype=torch.uint8), torch.zeros(3))
    assert torch.isfinite(units.prepare(torch.zeros(1, 28, 28, dtype=torch.uint8))).all()


def test_logits_become_probabilities():
    found = ByteImages().decode(torch.tensor([[0.0, math.log(3.0)]]), torch.empty(0))
    torch.testing.assert_close(found, torch.tensor([[0.25, 0.75]]))


def test_levels_by_hand():
    inputs = torch.tensor([[[10.0, 100.0], [20.0, 300.0]], [[15.0, 200.0], [30.0, 500.0]]])
    units = PriceLevels(2, 0)
    units.fit(inputs, torch.tensor([0.0, 0.0]))
    assert units.low.tolist() == [10.0, 100.0]
    assert units.span.tolist() == [20.0, 400.0]
    assert units.prepare(inputs)[1].tolist() == [[0.25, 0.25], [1.0, 1.0]]
    assert units.encode_target(torch.tensor([40.0]), inputs).tolist() == [1.5]
    assert units.decode(torch.tensor([[1.5], [0.0]]), inputs).tolist() == [40.0, 10.0]
    assert units.decode(torch.zeros(3, 7, 1), inputs).shape == (3, 7)


def test_a_flat_column_keeps_its_levels_finite():
    units = PriceLevels(1, 0)
    units.fit(torch.full((2, 3, 1), 5.0), torch.tensor([5.0, 5.0]))
    assert torch.isfinite(units.prepare(torch.full((2, 3, 1), 5.0))).all()


def test_log_returns_by_hand():
    """Prices are compared with yesterday's target, volumes with yesterday's volume."""
    units = LogReturns(3, known=1, volumes=(2,))
    inputs = torch.tensor([[[9.0, 10.0, 100.0], [11.0, 12.0, 200.0], [12.0, 15.0, 50.0]]])
    found = units.prepare(inputs)
    expected = [
        [math.log(11 / 10), math.log(12 / 10), math.log(200 / 100)],
        [math.log(12 / 12), math.log(15 / 12), math.log(50 / 200)],
    ]
    torch.testing.assert_close(found[0], torch.tensor(expected))
    units.target_deviation.fill_(0.5)
    torch.testing.assert_close(
        units.encode_target(torch.tensor([18.0]), inputs), torch.tensor([math.log(18 / 15) / 0.5])
    )
    torch.testing.assert_close(units.decode(torch.tensor([[2.0]]), inputs), torch.tensor([15 * math.exp(1.0)]))


def test_log_returns_are_standardised_on_the_training_split():
    torch.manual_seed(0)
    inputs = torch.exp(torch.randn(200, 6, 2) * 0.1 + 3)
    targets = torch.exp(torch.randn(200) * 0.1 + 3)
    units = LogReturns(2, 1)
    units.fit(inputs, targets)
    prepared = units.prepare(inputs)
    assert prepared.shape == (200, 5, 2)
    torch.testing.assert_close(prepared.mean((0, 1)), torch.zeros(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(prepared.std((0, 1)), torch.ones(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(units.encode_target(targets, inputs).std(), torch.ones(()), rtol=0, atol=1e-5)


def test_a_day_without_trade_stays_finite():
    units = LogReturns(2, 0, volumes=(1,))
    assert torch.isfinite(units.prepare(torch.tensor([[[10.0, 0.0], [11.0, 500.0], [12.0, 0.0]]]))).all()


def ewma_by_hand(closes, decay, days):
    """Volatility after each day that has `days` returns, and standardized returns: a plain loop."""
    returns = [math.log(after / before) for before, after in itertools.pairwise(closes)]
    volatility = {}
    for day in range(days - 1, len(returns)):
        weighted = total = 0.0
        for age in range(days):
            weight = decay**age
            weighted += weight * returns[day - age] ** 2
            total += weight
        volatility[day] = math.sqrt(weighted / total)
    standardized = [returns[day] / volatility[day - 1] for day in range(days, len(returns))]
    return standardized, volatility[len(returns) - 1]


@pytest.mark.parametrize("decay", [0.8, 0.94, 0.99])
@pytest.mark.parametrize(("length", "days"), [(12, 10), (16, 10), (30, 10), (142, 120)])
def test_ewma_against_a_plain_loop(decay, length, days):
    rng = np.random.default_rng(0)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (3, length)), axis=1))
    inputs = torch.from_numpy(closes.astype(np.float32))[:, :, None]
    units = EwmaReturns(decay, days)
    prepared, last = units.prepare(inputs), units.last_volatility(inputs)
    assert prepared.shape == (3, length - 1 - days, 1)
    for row in range(3):
        standardized, volatility = ewma_by_hand(inputs[row, :, 0].double().tolist(), decay, days)
        np.testing.assert_allclose(prepared[row, :, 0], standardized, rtol=2e-3, atol=1e-4)
        assert float(last[row]) == pytest.approx(volatility, rel=1e-3)


def test_ewma_never_divides_a_return_by_itself():
    """A jump on the last day must not shrink itself."""
    closes = [100.0 * 1.01**day for day in range(12)] + [200.0]
    units = EwmaReturns(0.94, 10)
    before = units.last_volatility(torch.tensor(closes[:-1])[None, :, None])
    found = units.prepare(torch.tensor(closes)[None, :, None])[0, -1, 0]
    jump = math.log(closes[-1] / closes[-2])
    assert float(found) == pytest.approx(jump / float(before), rel=1e-3)


def test_still_prices_stay_finite():
    units = EwmaReturns(0.94, 10)
    inputs = torch.full((1, 20, 1), 5.0)
    assert torch.isfinite(units.prepare(inputs)).all()
    assert torch.isfinite(units.encode_target(torch.zeros(1), inputs)).all()


def fitted(kind):
    torch.manual_seed(4)
    inputs = torch.exp(torch.cumsum(torch.randn(20, 30, 3) * 0.02, dim=1) + 4)
    targets = torch.exp(torch.randn(20) * 0.02 + 4)
    if kind == "levels":
        units = PriceLevels(3, 1)
    elif kind == "log returns":
        units = LogReturns(3, 1, volumes=(2,))
    else:
        units, inputs, targets = EwmaReturns(0.94, 15), inputs[:, :, :1], torch.randn(20) * 0.01
    units.fit(inputs, targets)
    return units, inputs, targets


@pytest.mark.parametrize("kind", ["levels", "log returns", "ewma"])
def test_decoding_undoes_encoding(kind):
    units, inputs, targets = fitted(kind)
    decoded = units.decode(units.encode_target(targets, inputs).unsqueeze(-1), inputs)
    torch.testing.assert_close(decoded.reshape(targets.shape), targets, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ["levels", "log returns", "ewma"])
def test_units_travel_with_the_weights(kind):
    units, inputs, targets = fitted(kind)
    fresh = type(units)(0.5, 15) if kind == "ewma" else fitted(kind)[0].__class__(3, 1)
    fresh.load_state_dict(units.state_dict())
    if kind == "log returns":
        fresh.reference = units.reference
    assert torch.equal(fresh.prepare(inputs), units.prepare(inputs))
    assert torch.equal(fresh.encode_target(targets, inputs), units.encode_target(targets, inputs))


@pytest.mark.parametrize("kind", ["levels", "log returns", "ewma"])
def test_units_are_not_trained(kind):
    assert not list(fitted(kind)[0].parameters())


# Networks


def network(every_step=False, bidirectional=False, **options):
    encoder = RecurrentEncoder(3, [("gru", 4), ("lstm", 5)], bidirectional=bidirectional)
    return SequenceNetwork(
        PriceLevels(3, 0), encoder, LinearHead(encoder.output_size, 1), every_step=every_step, **options
    )


def test_last_state_puts_the_forward_direction_first():
    hidden = torch.arange(12.0).reshape(2, 2, 3)  # [direction, batch, unit]
    assert last_state(hidden).tolist() == [[0, 1, 2, 6, 7, 8], [3, 4, 5, 9, 10, 11]]


@pytest.mark.parametrize("bidirectional", [False, True])
def test_network_shapes(bidirectional):
    inputs = torch.randn(4, 6, 3)
    assert network(bidirectional=bidirectional)(inputs).shape == (4,)
    assert network(True, bidirectional)(inputs).shape == (4, 6)
    output, state = network(True, bidirectional).output(inputs)
    assert output.shape == (4, 6, 1)
    directions = 1 + bidirectional
    assert [[part.shape for part in layer] for layer in state] == [[(directions, 4, 4)], [(directions, 4, 5)] * 2]


def test_every_step_reads_the_past_alone():
    torch.manual_seed(0)
    one = network(every_step=True).eval()
    inputs = torch.randn(2, 6, 3)
    changed = inputs.clone()
    changed[:, 4:] += 1
    assert torch.equal(one(inputs)[:, :4], one(changed)[:, :4])
    assert not torch.equal(one(inputs)[:, 4:], one(changed)[:, 4:])


def test_dropout_is_off_in_evaluation():
    one = network(dropout=0.5)
    inputs = torch.randn(4, 6, 3)
    assert not torch.equal(one(inputs), one(inputs))
    one.eval()
    assert torch.equal(one(inputs), one(inputs))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_ensemble_is_the_mean_of_raw_outputs(count):
    torch.manual_seed(0)
    members = [network() for _ in range(count)]
    members[0].preprocessing.span.fill_(7.0)
    inputs = torch.randn(4, 6, 3)
    expected = sum(member(inputs) for member in members) / count
    torch.testing.assert_close(Ensemble(members)(inputs), expected)


def test_classifier_gives_the_most_probable_class():
    torch.manual_seed(0)
    encoder = RecurrentEncoder(28, [("gru", 8)])
    ensemble = Ensemble([SequenceNetwork(ByteImages(), encoder, LinearHead(8, 10))])
    images = torch.randint(0, 256, (5, 28, 28), dtype=torch.uint8)
    labels, probabilities = Classifier(ensemble)(images)
    assert (labels.dtype, labels.shape) == (torch.int64, (5,))
    assert (probabilities.dtype, probabilities.shape) == (torch.float32, (5, 10))
    torch.testing.assert_close(probabilities.sum(1), torch.ones(5))
    assert torch.equal(probabilities.argmax(1), labels)


@pytest.mark.parametrize("nonlinearity", ["relu", "tanh"])
@pytest.mark.parametrize("units", [(4,), (8, 4), (8, 8, 4)])
def test_dense_by_hand(units, nonlinearity):
    encoder = DenseEncoder(6, units, nonlinearity=nonlinearity, dropout=0.3).eval()
    inputs = torch.randn(5, 2, 3)
    values = inputs.reshape(5, 6)
    for layer in (module for module in encoder.modules() if isinstance(module, torch.nn.Linear)):
        values = getattr(torch, nonlinearity)(values @ layer.weight.T + layer.bias)
    torch.testing.assert_close(encoder(inputs), values)
    assert encoder.output_size == units[-1]
    assert sum(isinstance(module, torch.nn.Dropout) for module in encoder.modules()) == len(units) - 1
