"""What a trained network shows of itself."""

import numpy as np
import pytest
import torch
from small_networks import randomised
from small_trainings import CPU

from unroll.features.special_tokens import BOS, EOS, PAD, UNK
from unroll.models.generators import reversed_steps
from unroll.training.batches import Batches
from unroll.training.inspection import PROMPT_STEPS, continuations, looks, prompts, vectors
from unroll.training.members import new_network, training_split, written


def made(tiny, kind, model=None):
    task, samples = tiny.task(kind), tiny.samples(kind)
    data = training_split(samples, task, samples.folds[-1].train, CPU)
    network = new_network(task, model or tiny.model_for(kind, "gru"), data, 0)
    return task, randomised(network, spread=0.7), data


# What attention looked at


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reversed"])
def test_looks_are_those_of_what_was_written(tiny, reverse):
    model = tiny.writer("gru", "lstm", attention=True, bidirectional=True, reverse_source=reverse)
    task, network, data = made(tiny, "translation", model)
    rows = [3, 0, 17]
    vocabulary = task.vocabularies["text"]
    for row, (source, said, weights) in zip(rows, looks(network, task, data, rows), strict=True):
        length = int(data.lengths[row])
        assert source == vocabulary.tokens_of(data.inputs[row, :length].tolist())
        ids = written(network, task, data.at(torch.tensor([row])))[0].tolist()
        ids = ids[: ids.index(EOS) + 1] if EOS in ids else ids
        assert said == vocabulary.tokens_of(ids)
        assert weights.shape == (len(said), length)
        np.testing.assert_allclose(weights.sum(1), 1, rtol=0, atol=1e-5)


def test_looks_are_in_the_order_of_the_source(tiny):
    """However the encoder read it: weights of a reversed source are turned back, its padding left where it is."""
    model = tiny.writer("gru", "gru", attention=True, reverse_source=True)
    _, network, data = made(tiny, "translation", model)
    batch = data.at(torch.arange(6))
    with torch.no_grad():
        found = network.attention(batch.inputs, batch.lengths, batch.targets)
        network.reverse_source = False
        turned = reversed_steps(batch.inputs, batch.lengths)
        as_read = network.attention(turned, batch.lengths, batch.targets)
    assert len(set(batch.lengths.tolist())) > 1
    for row, length in enumerate(batch.lengths.tolist()):
        torch.testing.assert_close(found[row, :, :length], as_read[row, :, :length].flip(1), rtol=0, atol=1e-6)
        assert not found[row, :, length:].any()


# Vectors


@pytest.mark.parametrize("kind", ["text_class", "tags", "language_model", "translation", "strip_captions"])
def test_vectors_are_a_row_for_each_token(tiny, kind):
    task, network, _ = made(tiny, kind)
    found = vectors(network)
    assert found.shape == (next(iter(task.vocabularies.values())).size, 5)
    assert found.dtype == np.float32
    assert not found[PAD].any()


@pytest.mark.parametrize("kind", ["digits", "recording_class", "strip_columns"])
def test_what_reads_no_tokens_has_no_vectors(tiny, kind):
    assert vectors(made(tiny, kind)[1]) is None


# What a language model goes on with


@pytest.mark.parametrize("kind", ["language_model"])
def test_what_is_gone_on_with(tiny, kind):
    task, network, data = made(tiny, kind)
    rows = prompts(data, 3)
    assert 1 <= len(rows) <= 3
    found = continuations(network, task, data, rows)
    for row, tokens in zip(rows, found, strict=True):
        assert tokens[:PROMPT_STEPS] == data.inputs[row, :PROMPT_STEPS].tolist()
        new = tokens[PROMPT_STEPS:]
        assert 1 <= len(new) <= task.decoding.max_length
        said = new[: new.index(EOS) + 1] if EOS in new else new
        assert not set(said) & {PAD, UNK, BOS}
    # A row's chance is its own.
    (alone,) = continuations(network, task, data, rows[-1:])
    assert [token for token in alone if token != PAD] == [token for token in found[-1] if token != PAD]


def test_prompts_by_hand():
    rows = torch.full((9, PROMPT_STEPS + 2), 7)
    rows[0, 2] = EOS  # a text ends in it
    rows[3, PROMPT_STEPS - 1] = PAD  # it is too short
    rows[5, PROMPT_STEPS] = EOS  # a text ends after it
    rows[4, 1] = UNK
    data = Batches(rows, rows)
    assert prompts(data, 99) == [1, 2, 5, 6, 7, 8]
    assert prompts(data, 3) == [1, 5, 8]
    assert prompts(Batches(rows[:1], rows[:1]), 3) == []
