"""Greedy decoding, beam search and sampling against hand-computed values, brute force and counts."""

import itertools

import numpy as np
import pytest
import torch
from small_networks import VOCABULARY, language_model, sequences, translator

from unroll.features.special_tokens import EOS, NEVER_GENERATED, PAD
from unroll.models.decoding import decode

POSSIBLE = [token for token in range(VOCABULARY) if token not in NEVER_GENERATED]
LAST = float(np.nextafter(np.float32(1), np.float32(0)))
"""The largest number below 1."""

NETWORKS = {
    "gru with additive attention": lambda: translator("gru", attention="additive", bidirectional=True),
    "lstm with dot attention": lambda: translator("lstm", attention="dot", bidirectional=True),
    "lstm": lambda: translator("lstm", ("lstm",), reverse=True, seed=3),
    "language model": lambda: language_model("lstm", "gru", seed=2),
    "tied language model": lambda: language_model("rnn", tie_weights=True, seed=5),
}
every_network = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


@torch.no_grad()
def log_probabilities(network, row, written):
    """Of every token at each step, by reading the whole sequence: no state is passed on here."""
    if hasattr(network, "decoder"):
        logits = network.output(row, targets=torch.tensor([written]))[0][0]
    else:
        logits = network.output(torch.cat([row, torch.tensor([written])], 1))[0][0, row.shape[1] - 1 : -1]
    return logits.log_softmax(-1)


def score(network, row, written):
    logs = log_probabilities(network, row, written)
    return float(sum(logs[step, token] for step, token in enumerate(written)))


def search(network, row, *, beams, max_length, length_penalty):
    """Beam search with lists, the whole sequence read anew for every step."""
    found = [([], 0.0)]
    for _ in range(max_length):
        longer = []
        for written, total in found:
            if EOS in written:
                longer.append((written, total))
                continue
            logs = log_probabilities(network, row, [*written, EOS])[-1]
            longer += [([*written, token], total + float(logs[token])) for token in POSSIBLE]
        longer.sort(key=lambda one: -one[1] / len(one[0]) ** length_penalty)
        found = longer[:beams]
        if all(EOS in written for written, _ in found):
            break
    return [(written, total / len(written) ** length_penalty) for written, total in found]


def without_padding(tokens):
    return [[token for token in row if token != PAD] for row in tokens.tolist()]


@every_network
@pytest.mark.parametrize("length_penalty", [0.0, 2.5])
def test_wide_beams_find_what_an_exhaustive_search_finds(make, length_penalty):
    """All sequences of up to three tokens, best first: 1 + 7 + 7 · 8 of them."""
    network = make()
    inputs, _ = sequences("tokens", [3])
    plain = [token for token in POSSIBLE if token != EOS]
    every = [[EOS], *([one, EOS] for one in plain)]
    every += [[*two, last] for two in itertools.product(plain, repeat=2) for last in POSSIBLE]
    values = {tuple(written): score(network, inputs, written) / len(written) ** length_penalty for written in every}
    tokens, scores = decode(network, inputs, max_length=3, beams=len(every), length_penalty=length_penalty)
    found = [tuple(written) for written in without_padding(tokens[0])]
    assert set(found) == set(values)
    assert scores[0].tolist() == pytest.approx([values[written] for written in found], abs=1e-5)
    assert scores[0].tolist() == pytest.approx(sorted(values.values(), reverse=True), abs=1e-5)


@every_network
@pytest.mark.parametrize(("beams", "length_penalty"), [(1, 0.0), (2, 1.0), (3, 0.0), (6, 0.7)])
def test_narrow_beams_follow_the_same_hypotheses(make, beams, length_penalty):
    network = make()
    inputs, lengths = sequences("tokens")
    settings = {"beams": beams, "max_length": 5, "length_penalty": length_penalty}
    tokens, scores = decode(network, inputs, lengths, **settings)
    assert not scores.requires_grad
    for row, length in enumerate(lengths):
        expected = search(network, inputs[row : row + 1, :length], **settings)
        assert without_padding(tokens[row]) == [written for written, _ in expected]
        assert scores[row].tolist() == pytest.approx([value for _, value in expected], abs=1e-5)


# Sampling


def draw(network, row, numbers, temperature, top_k):
    """Sample with a plain loop: the token in whose interval of cumulative probability a number falls."""
    written = []
    for number in numbers:
        logs = log_probabilities(network, row, [*written, EOS])[-1, POSSIBLE] / temperature
        kept = logs.topk(min(top_k or len(POSSIBLE), len(POSSIBLE))).indices.sort().values
        edges = logs[kept].softmax(-1).cumsum(-1)[:-1]
        written.append(POSSIBLE[kept[int((edges <= number).sum())]])
        if written[-1] == EOS:
            break
    return written


@every_network
@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 0), (0.5, 3), (1.8, 6), (0.7, 1), (1.3, 1000)])
def test_sampling_against_a_plain_loop(make, temperature, top_k):
    network = make()
    inputs, lengths = sequences("tokens")
    uniforms = torch.rand(4, 3, 6, generator=torch.Generator().manual_seed(1))
    uniforms[0, 0], uniforms[0, 1] = 0.0, LAST
    settings = {"temperature": temperature, "top_k": top_k, "length_penalty": 0.5}
    tokens, scores = decode(network, inputs, lengths, max_length=6, beams=3, uniforms=uniforms, **settings)
    for row, length in enumerate(lengths):
        own = inputs[row : row + 1, :length]
        expected = [draw(network, own, numbers, temperature, top_k) for numbers in uniforms[row]]
        assert without_padding(tokens[row]) == expected
        values = [score(network, own, written) / len(written) ** 0.5 for written in expected]
        assert scores[row].tolist() == pytest.approx(values, abs=1e-5)
