"""Step by step is the whole: each cell, stack, decoder and language model; teacher forcing is stepping."""

import pytest
import torch
from small_networks import CELLS, VOCABULARY, captioner, images, language_model, randomised, sequences, writer

from unroll.features.special_tokens import BOS, IGNORE_INDEX, PAD
from unroll.models.generators import chosen_log_probabilities, reversed_steps, shift_right
from unroll.models.recurrent import RecurrentEncoder, RecurrentLayer

every_cell = pytest.mark.parametrize("cell", CELLS)
STACKS = [(cell,) for cell in CELLS] + [("rnn", "gru", "lstm"), ("lstm", "lstm")]
every_stack = pytest.mark.parametrize("cells", STACKS, ids="-".join)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def zeros(cell, batch, units=5):
    return tuple(torch.zeros(batch, units) for _ in range(2 if cell == "lstm" else 1))


@pytest.mark.parametrize(
    ("cell", "nonlinearity"), [("rnn", "tanh"), ("rnn", "relu"), ("gru", "tanh"), ("lstm", "tanh")]
)
@pytest.mark.parametrize("given_state", [False, True], ids=["zeros", "given state"])
def test_step_of_a_cell_is_the_layer_over_time(cell, nonlinearity, given_state):
    layer = randomised(RecurrentLayer(cell, 3, 5, nonlinearity=nonlinearity))
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(4, 6, 3, generator=generator)
    state = tuple(torch.randn(part.shape, generator=generator) if given_state else part for part in zeros(cell, 4))
    with torch.no_grad():
        outputs, end = layer(inputs, None, tuple(part.unsqueeze(0) for part in state))
        for step in range(6):
            output, state = layer.step(inputs[:, step], state)
            close(output, outputs[:, step])
            assert state[0] is output
    for part, other in zip(state, end, strict=True):
        close(part, other[0])


@every_cell
def test_a_step_has_any_axes_before_the_features(cell):
    """[batch, beam, feature], as hypotheses have it."""
    layer = randomised(RecurrentLayer(cell, 3, 5))
    inputs = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0))
    state = tuple(torch.full((2, 3, 5), 0.3) for _ in zeros(cell, 1))
    with torch.no_grad():
        output, after = layer.step(inputs, state)
        flat, _ = layer.step(inputs.view(6, 3), tuple(part.view(6, 5) for part in state))
    assert output.shape == (2, 3, 5)
    assert len(after) == len(state)
    close(output.view(6, 5), flat)


@every_cell
def test_a_step_from_the_inputs_share_of_the_gates(cell):
    layer = randomised(RecurrentLayer(cell, 3, 5))
    inputs, state = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), zeros(cell, 4)
    weight, bias = layer.input_parameters
    with torch.no_grad():
        close(layer.step_from(inputs @ weight.T + bias, state)[0], layer.step(inputs, state)[0])


@every_cell
def test_a_step_can_be_trained(cell):
    layer = RecurrentLayer(cell, 3, 5)
    inputs = torch.randn(4, 6, 3)
    outputs, _ = layer(inputs)
    outputs.sum().backward()
    expected = [parameter.grad.clone() for parameter in layer.parameters()]
    layer.zero_grad()
    state, total = zeros(cell, 4), torch.zeros(())
    for step in range(6):
        output, state = layer.step(inputs[:, step], state)
        total = total + output.sum()
    total.backward()
    for parameter, gradient in zip(layer.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-5)


@every_stack
@pytest.mark.parametrize("layer_norm", [False, True], ids=["plain", "norm"])
def test_step_of_a_stack_is_the_stack_over_time(cells, layer_norm):
    encoder = randomised(RecurrentEncoder(3, [(cell, 5) for cell in cells], layer_norm=layer_norm, dropout=0.5))
    inputs = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0))
    state = [zeros(cell, 4) for cell in cells]
    with torch.no_grad():
        outputs, end = encoder(inputs)
        for step in range(6):
            output, state = encoder.step(inputs[:, step], state)
            close(output, outputs[:, step])
    for layer, other in zip(state, end, strict=True):
        for part, whole in zip(layer, other, strict=True):
            close(part, whole[0])


# Language models


@every_stack
@pytest.mark.parametrize("tie_weights", [False, True], ids=["untied", "tie_weights"])
def test_a_language_model_steps_as_it_reads(cells, tie_weights):
    network = language_model(*cells, tie_weights=tie_weights)
    inputs, _ = sequences("tokens", [7, 7, 7])
    with torch.no_grad():
        logits, _ = network.output(inputs)
        last, state, memory = network.start(inputs[:, :3], None, torch.arange(2))
        assert last.tolist() == [[token, token] for token in inputs[:, 2].tolist()]
        assert memory == ()
        for step in range(2, 7):
            found, state = network.step(inputs[:, step : step + 1].expand(-1, 2), state, memory)
            close(found, logits[:, step : step + 1].expand(-1, 2, -1))


@every_stack
def test_a_prompt_of_one_token_begins_without_a_state(cells):
    network = language_model(*cells)
    inputs, lengths = sequences("tokens", [1, 4])
    with torch.no_grad():
        last, state, _ = network.start(inputs, lengths, torch.arange(1))
    assert last.tolist() == [[int(inputs[0, 0])], [int(inputs[1, 3])]]
    assert not any(part[0].any() for part in state)
    assert all(part[1].any() for part in state)
    assert len(state) == sum(2 if cell == "lstm" else 1 for cell in cells)


def test_log_probabilities_by_hand():
    logits = torch.log(torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.9, 0.05, 0.05]]]))
    found = chosen_log_probabilities(logits, torch.tensor([[1, 2, IGNORE_INDEX]]))
    torch.testing.assert_close(found, torch.log(torch.tensor([[0.25, 0.7, 1.0]])))
    assert float(found[0, 2]) == 0


@every_stack
def test_the_state_after_a_text_is_where_the_next_begins(cells):
    network = language_model(*cells)
    inputs, _ = sequences("tokens", [9, 9])
    targets = inputs.roll(-1, 1)
    with torch.no_grad():
        whole, _ = network.log_probabilities(inputs, targets)
        first, state = network.log_probabilities(inputs[:, :5], targets[:, :5])
        second, _ = network.log_probabilities(inputs[:, 5:], targets[:, 5:], state=state)
    close(torch.cat([first, second], 1), whole)


# Encoder and decoder


def test_what_is_read_before_each_target():
    targets = torch.tensor([[7, 8, 5], [9, 5, IGNORE_INDEX]])
    assert shift_right(targets).tolist() == [[BOS, 7, 8], [BOS, 9, 5]]
    assert shift_right(torch.tensor([[7, IGNORE_INDEX, IGNORE_INDEX]])).tolist() == [[BOS, 7, PAD]]


def test_reversed_steps_by_hand():
    inputs = torch.tensor([[1, 2, 3, 0], [4, 0, 0, 0], [5, 6, 7, 8]])
    expected = torch.tensor([[3, 2, 1, 0], [4, 0, 0, 0], [8, 7, 6, 5]])
    lengths = torch.tensor([3, 1, 4])
    assert torch.equal(reversed_steps(inputs, lengths), expected)
    assert reversed_steps(inputs[2:], None).tolist() == [[8, 7, 6, 5]]
    both = torch.stack([inputs, -inputs], -1)
    assert torch.equal(reversed_steps(both, lengths), torch.stack([expected, -expected], -1))


@every_cell
@pytest.mark.parametrize("attention", [False, True], ids=["plain", "attention"])
@pytest.mark.parametrize("read", [("gru",), ("lstm",), ("rnn", "lstm")], ids="-".join)
def test_teacher_forcing_is_stepping(cell, attention, read):
    network = writer(cell, read, attention=attention, bidirectional=True)
    inputs, lengths = sequences("tokens")
    targets, _ = sequences("tokens", [5] * 4, seed=3)
    with torch.no_grad():
        logits, _ = network.output(inputs, lengths, targets)
        tokens, state, memory = network.start(inputs, lengths, torch.arange(2))
        assert (tokens == BOS).all()
        for step in range(5):
            found, state = network.step(tokens, state, memory)
            close(found, logits[:, step : step + 1].expand(-1, 2, -1))
            tokens = targets[:, step : step + 1].expand(-1, 2)


@every_cell
def test_captions_are_stepped_as_they_are_forced(cell):
    network, inputs = captioner(cell), images()
    targets, _ = sequences("tokens", [5] * 4, seed=3)
    with torch.no_grad():
        logits, state = network.output(inputs, targets=targets)
        assert state is None
        tokens, state, memory = network.start(inputs, None, torch.arange(1))
        for step in range(5):
            found, state = network.step(tokens, state, memory)
            close(found[:, 0], logits[:, step])
            tokens = targets[:, step : step + 1]


@every_cell
@pytest.mark.parametrize("attention", [False, True], ids=["plain", "attention"])
def test_what_is_told_depends_on_what_was_written_before_alone(cell, attention):
    network = writer(cell, attention=attention)
    inputs, lengths = sequences("tokens")
    targets, _ = sequences("tokens", [6] * 4, seed=3)
    changed = targets.clone()
    changed[:, 3:] = (changed[:, 3:] + 1) % VOCABULARY
    with torch.no_grad():
        one, other = (network.output(inputs, lengths, these)[0] for these in (targets, changed))
    # The token at 3 is read at 4.
    close(one[:, :4], other[:, :4])
    assert not torch.allclose(one[:, 4:], other[:, 4:], atol=1e-3)


@every_cell
@pytest.mark.parametrize("read", ["rnn", "gru", "lstm"])
def test_the_first_state_is_made_of_all_that_the_encoder_knows(cell, read):
    """Of an LSTM, both of its states, and both directions."""
    network = writer(cell, (read,), bidirectional=True)
    directions, states = 2, 2 if read == "lstm" else 1
    assert network.decoder.bridge.in_features == directions * states * 5
    encoding = torch.randn(3, directions * states * 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        state = network.decoder.start(encoding)
        linear = encoding @ network.decoder.bridge.weight.T + network.decoder.bridge.bias
    close(state[0], torch.tanh(linear[:, :5]))
    assert len(state) == (2 if cell == "lstm" else 1)
    if cell == "lstm":
        close(state[1], linear[:, 5:])
    inputs, lengths = sequences("tokens")
    with torch.no_grad():
        found, _ = network.encode(inputs, lengths)
        _, after = network.encoder(network.embedding(inputs), lengths)
        known = torch.cat([torch.cat([part[0], part[1]], -1) for part in after[-1]], -1)
        for one, other in zip(found, network.decoder.start(known), strict=True):
            close(one, other)


def test_a_decoder_without_targets_says_what_to_use():
    network = writer("gru")
    with pytest.raises(ValueError, match="decode"):
        network.output(*sequences("tokens"))


def test_without_attention_nothing_is_looked_at():
    network = writer("gru")
    inputs, lengths = sequences("tokens")
    targets, _ = sequences("tokens", [5] * 4, seed=3)
    assert network.encode(inputs, lengths)[1] == ()
    assert network.attention(inputs, lengths, targets).shape == (4, 5, 0)


@every_cell
def test_one_step_changes_every_parameter_of_a_writer(cell):
    network = writer(cell, ("gru", "lstm"), attention=True, bidirectional=True).train()
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    inputs, lengths = sequences("tokens")
    targets, _ = sequences("tokens", [5] * 4, seed=3)
    optimizer = torch.optim.SGD(network.parameters(), 0.5)
    logits, _ = network.output(inputs, lengths, targets)
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
    optimizer.step()
    assert not [name for name, value in network.named_parameters() if torch.equal(value, before[name])]
