"""What a trained network shows of itself, and how far its gradients reach back in time."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_networks import randomized
from small_trainings import CPU, new_network

from unroll.evaluation.gradients import gradient_reach
from unroll.evaluation.inspection import attention_weights, continuations, embedding_vectors, prompt_rows
from unroll.features.samples import PROMPT_STEPS
from unroll.features.special_tokens import EOS, NEVER_GENERATED, PAD, UNK
from unroll.models.encoders import RecurrentEncoder
from unroll.models.heads import LinearHead
from unroll.models.network import SequenceNetwork
from unroll.models.preprocessing import PriceLevels
from unroll.training.batches import Batches, make_batches
from unroll.training.prediction import generate


def made(tiny, kind, model=None):
    task, samples = tiny.task(kind), tiny.samples(kind)
    data = make_batches(samples, task, samples.shipped.train, CPU)
    return task, randomized(new_network(task, model or tiny.model_for(kind, "gru"), data), std=0.7), data


@pytest.mark.parametrize("reverse", [False, True])
def test_attention_weights_have_the_tokens_of_both_sides(tiny, reverse):
    model = tiny.writer("gru", "lstm", attention="additive", bidirectional=True, reverse_source=reverse)
    task, network, data = made(tiny, "translation", model)
    rows, vocabulary = [3, 0, 17], task.vocabularies["text"]
    for row, (source, target, weights) in zip(rows, attention_weights(network, task, data, rows), strict=True):
        length = int(data.lengths[row])
        assert source == vocabulary.tokens_of(data.inputs[row, :length].tolist())
        ids = generate(network, task, data.at(torch.tensor([row])))[0].tolist()
        assert target == vocabulary.tokens_of(ids[: ids.index(EOS) + 1] if EOS in ids else ids)
        assert weights.shape == (len(target), length)
        np.testing.assert_allclose(weights.sum(1), 1, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["text_class", "language_model", "translation", "digits"])
def test_embedding_vectors(tiny, kind):
    task, network, _ = made(tiny, kind)
    found = embedding_vectors(network)
    if kind == "digits":
        assert found is None
    else:
        assert found.shape == (next(iter(task.vocabularies.values())).size, 5)
        assert not found[PAD].any()


def test_continuations_follow_the_prompt(tiny):
    task, network, data = made(tiny, "language_model")
    rows = prompt_rows(data, 3)
    found = continuations(network, task, data, rows)
    for row, tokens in zip(rows, found, strict=True):
        assert tokens[:PROMPT_STEPS] == data.inputs[row, :PROMPT_STEPS].tolist()
        new = tokens[PROMPT_STEPS:]
        assert 1 <= len(new) <= task.decoding.max_length
        assert not set(new[: new.index(EOS) + 1] if EOS in new else new) & set(NEVER_GENERATED)
    # A row's samples do not depend on the other rows.
    (alone,) = continuations(network, task, data, rows[-1:])
    assert [token for token in alone if token != PAD] == [token for token in found[-1] if token != PAD]


def test_prompts_contain_no_end_no_padding_and_no_unknown_token():
    rows = torch.full((9, PROMPT_STEPS + 2), 7)
    rows[0, 2] = EOS
    rows[3, PROMPT_STEPS - 1] = PAD
    rows[4, 1] = UNK
    rows[5, PROMPT_STEPS] = EOS  # after the prompt
    data = Batches(rows, rows)
    assert prompt_rows(data, 99) == [1, 2, 5, 6, 7, 8]
    assert prompt_rows(data, 3) == [1, 5, 8]
    assert prompt_rows(Batches(rows[:1], rows[:1]), 3) == []


def test_gradient_reach_of_a_linear_recurrence():
    """h_t = w · h_{t−1} + x_t (relu, all positive): ∂h_T/∂x_t = w^(T−t)."""
    encoder = RecurrentEncoder(1, [("rnn", 1)], nonlinearity="relu")
    network = SequenceNetwork(PriceLevels(1, 0), encoder, LinearHead(1, 1))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.fill_(0.0 if "bias" in name else 0.5 if "weight_hh" in name else 1.0)
    task = SimpleNamespace(loss=lambda output, target: output.mean())
    data = Batches(torch.rand(6, 5, 1), torch.zeros(6))
    assert gradient_reach(network, task, data) == pytest.approx([0.5**4, 0.5**3, 0.5**2, 0.5, 1.0])


@pytest.mark.parametrize("kind", ["digits", "price_steps", "return_quantiles", "strip_columns"])
def test_gradient_reach_has_a_number_for_each_step(tiny, kind):
    task, samples = tiny.task(kind), tiny.samples(kind)
    data = make_batches(samples, task, samples.shipped.train[:16], CPU)
    network = new_network(task, tiny.model("gru"), data)
    torch.nn.init.normal_(next(network.head.parameters()))
    found = gradient_reach(network, task, data)
    assert len(found) == task.steps
    assert all(norm > 0 for norm in found)
