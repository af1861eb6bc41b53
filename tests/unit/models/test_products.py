"""Gradients that are computed at once are those that torch computes step by step, or of all logits."""

import pytest
import torch
import torch.nn.functional as F
from small_networks import CELLS, language_model, sequences, writer

from unroll.models.embedding import IGNORED
from unroll.models.heads import token_loss
from unroll.models.products import RepeatedProduct

every_cell = pytest.mark.parametrize("cell", CELLS)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def close(found, expected):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("biased", [False, True], ids=["no bias", "bias"])
def test_gradients_of_a_product_repeated_step_by_step(biased):
    inputs, matrix, bias = normal(3, 2, 5), normal(5, 5, seed=1), normal(5, seed=2)
    leaves = (inputs, matrix, bias) if biased else (inputs, matrix)

    def run(product):
        hidden, total = inputs, 0.0
        for _ in range(4):
            hidden = product(hidden).tanh()
            total = total + hidden.square().sum()
        return torch.autograd.grad(total, leaves)

    found = run(RepeatedProduct(matrix, bias if biased else None))
    close(found, run(lambda hidden: hidden @ matrix + (bias if biased else 0.0)))


def test_gradients_of_a_matrix_for_each_sample():
    weights, values = [normal(3, 1, 4, seed=step) for step in range(3)], normal(3, 4, 6, seed=9)

    def run(product):
        return torch.autograd.grad(sum(product(one).square().sum() for one in weights), (values, *weights))

    close(run(RepeatedProduct(values)), run(lambda one: one @ values))


def test_a_second_pass_back_counts_nothing_twice():
    inputs, matrix = normal(2, 1, 3), normal(3, 3, seed=1)
    product = RepeatedProduct(matrix)
    total = product(product(inputs)).sum()
    first = torch.autograd.grad(total, matrix, retain_graph=True)
    close(torch.autograd.grad(total, matrix), first)


def test_steps_that_the_loss_does_not_see_count_nothing():
    inputs, matrix = normal(2, 1, 3), normal(3, 3, seed=1)
    product = RepeatedProduct(matrix)
    seen, _ = product(inputs), product(inputs * 2)
    close(torch.autograd.grad(seen.sum(), matrix), torch.autograd.grad((inputs @ matrix).sum(), matrix))


@pytest.mark.parametrize("steps", [1, 300], ids=["a few rows", "more rows than are done at once"])
def test_loss_of_tokens_is_the_cross_entropy_of_their_logits(steps):
    features, weight, bias = normal(2, steps, 4), normal(7, 4, seed=1), normal(7, seed=2)
    targets = torch.randint(7, (2, steps), generator=torch.Generator().manual_seed(3))
    targets[1, steps // 2 :] = IGNORED

    def run(loss):
        # A loss is not always the end: its gradient is not always 1.
        return loss.detach(), *torch.autograd.grad(3 * loss, (features, weight, bias))

    found = run(token_loss(features, targets, weight, bias))
    logits = F.linear(features, weight, bias)
    close(found, run(F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)))


def of_output(network, inputs, lengths, targets):
    output, _ = network.output(inputs, lengths, targets)
    return F.cross_entropy(output.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


def agree(network, inputs, lengths, targets):
    """The loss, and every gradient, are those of the logits that `output` gives."""
    network.double().eval()
    leaves = list(network.parameters())
    found, expected = network.loss(inputs, lengths, targets)[0], of_output(network, inputs, lengths, targets)
    close([found, *torch.autograd.grad(found, leaves)], [expected, *torch.autograd.grad(expected, leaves)])


@every_cell
@pytest.mark.parametrize("attention", [False, True], ids=["plain", "attention"])
def test_a_writer_has_the_loss_of_its_logits(cell, attention):
    targets, _ = sequences("tokens", [3, 5, 1, 2], seed=3)
    targets[targets == 0] = IGNORED
    agree(writer(cell, ("gru",), attention=attention, bidirectional=True), *sequences("tokens"), targets)


@every_cell
def test_gradients_of_teacher_forcing_are_those_of_stepping(cell):
    network = writer(cell, ("gru",), attention=True, bidirectional=True).double().eval()
    (inputs, lengths), (targets, _) = sequences("tokens"), sequences("tokens", [4] * 4, seed=3)
    tokens, state, memory = network.start(inputs, lengths, torch.arange(1))
    logits = []
    for step in range(4):
        found, state = network.step(tokens, state, memory)
        logits.append(found)
        tokens = targets[:, step : step + 1]
    stepped = F.cross_entropy(torch.cat(logits, 1).flatten(0, 1), targets.flatten())
    leaves = list(network.parameters())
    found = torch.autograd.grad(network.loss(inputs, lengths, targets)[0], leaves)
    close(found, torch.autograd.grad(stepped, leaves))


@every_cell
@pytest.mark.parametrize("tied", [False, True], ids=["linear head", "tied"])
def test_a_language_model_has_the_loss_of_its_logits(cell, tied):
    network, (inputs, lengths) = language_model(cell, tied=tied), sequences("tokens")
    targets = inputs.roll(-1, 1)
    targets[:, -1] = IGNORED
    agree(network, inputs, lengths, targets)
