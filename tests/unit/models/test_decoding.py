"""Search and chance against what is worked out by hand, by brute force and by counting."""

import itertools
import math

import numpy as np
import pytest
import torch
from small_networks import CELLS, VOCABULARY, language_model, sequences, writer
from torch import nn

from unroll.features.random import uniforms as seeded
from unroll.features.special_tokens import BOS, EOS, PAD, UNK
from unroll.models.decoder import Decoder
from unroll.models.decoding import BeamStep, Start, decode, ranked_scores
from unroll.models.embedding import TokenEmbedding

NEVER = {PAD, UNK, BOS}
MAY = [token for token in range(VOCABULARY) if token not in NEVER]
A, B, C, D = 6, 7, 8, 9
LAST = float(np.nextafter(np.float32(1), np.float32(0)))
"""The greatest number below 1."""

NETWORKS = {
    "gru with attention": lambda: writer("gru", attention=True, bidirectional=True),
    "lstm without": lambda: writer("lstm", ("lstm",), reverse=True, seed=3),
    "rnn": lambda: writer("rnn", ("rnn",), seed=6),
    "language model": lambda: language_model("lstm", "gru", seed=2),
    "tied language model": lambda: language_model("rnn", tie_weights=True, seed=5),
}
every_network = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


class Told(nn.Module):
    """Writes by a table: at each step, the probability of each token after each token.

    Args:
        table: A step → last token → next tokens and their probabilities; of the others, nothing is left.
    """

    def __init__(self, table):
        super().__init__()
        self.table = table

    def start(self, inputs, lengths, ranks):
        rows, beams = inputs.shape[0], ranks.shape[0]
        return torch.full((rows, beams), BOS), (torch.zeros(rows, beams, 1),), ()

    def step(self, tokens, state, memory):
        (counter,) = state
        logits = torch.full((*tokens.shape, 10), -1e4)
        for place in itertools.product(*map(range, tokens.shape)):
            after = self.table[min(int(counter[place][0]), len(self.table) - 1)]
            for token, share in after.get(int(tokens[place]), {}).items():
                logits[place][token] = math.log(share)
        return logits, (counter + 1,)


def told(*table, rows=1, **settings):
    return decode(Told(table), torch.zeros(rows, 1, dtype=torch.int64), **settings)


def log_probabilities(network, row, written):
    """Of each token of a sequence, by reading all of it: no state is handed on here."""
    if hasattr(network, "decoder"):
        logits, _ = network.output(row, targets=torch.tensor([written]))
        logits = logits[0]
    else:
        logits = network.output(torch.cat([row, torch.tensor([written])], 1))[0][0, row.shape[1] - 1 : -1]
    return logits.log_softmax(-1)


@torch.no_grad()
def score(network, row, written):
    logs = log_probabilities(network, row, written)
    return float(sum(logs[step, token] for step, token in enumerate(written)))


@torch.no_grad()
def next_logs(network, row, written):
    """Log probability of each token after those written."""
    return log_probabilities(network, row, [*written, EOS])[-1]


def searched(network, row, *, beams, max_length, length_penalty):
    """Beam search as one would explain it: lists of lists, the whole sequence read anew for every step."""
    found = [([], 0.0)]
    for _ in range(max_length):
        longer = []
        for written, total in found:
            if EOS in written:
                longer.append((written, total))
                continue
            logs = next_logs(network, row, written)
            longer += [([*written, token], total + float(logs[token])) for token in MAY]
        longer.sort(key=lambda one: -one[1] / len(one[0]) ** length_penalty)
        found = longer[:beams]
        if all(EOS in written for written, _ in found):
            break
    return [(written, total / len(written) ** length_penalty) for written, total in found]


def trimmed(tokens):
    """Rows of tokens as lists without padding."""
    return [[token for token in row if token != PAD] for row in tokens.tolist()]


# Greedy


@every_network
def test_greedy_is_the_most_probable_token_each_time(make):
    network = make()
    inputs, lengths = sequences("tokens")
    tokens, scores = decode(network, inputs, lengths, max_length=7, length_penalty=0.0)
    for row, length in enumerate(lengths):
        own, written = inputs[row : row + 1, :length], []
        while len(written) < 7 and EOS not in written:
            logs = next_logs(network, own, written)
            written.append(max(MAY, key=lambda token, logs=logs: float(logs[token])))
        assert trimmed(tokens[row]) == [written]
        assert float(scores[row, 0]) == pytest.approx(score(network, own, written), abs=1e-5)


@every_network
def test_greedy_is_a_search_with_one_beam(make):
    network, penalty = make(), torch.tensor(1.0)
    inputs, lengths = sequences("tokens")
    search = BeamStep(network)
    with torch.no_grad():
        hypotheses, state, memory = Start(network)(inputs, lengths, torch.arange(1))
        for _ in range(7):
            hypotheses, state = search(hypotheses, state, memory, penalty)
    expected, expected_scores = ranked_scores(hypotheses, penalty)
    tokens, scores = decode(network, inputs, lengths, max_length=7)
    assert torch.equal(tokens, expected[:, :, : tokens.shape[2]])
    assert not expected[:, :, tokens.shape[2] :].any()
    torch.testing.assert_close(scores, expected_scores)


# Beam search


@every_network
@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.5])
def test_wide_beams_find_what_an_exhaustive_search_finds(make, length_penalty):
    """All sequences of three tokens at most, best first: 1 + 7 + 7 · 8 of them."""
    network = make()
    inputs, _ = sequences("tokens", [3])
    plain = [token for token in MAY if token != EOS]
    every = [[EOS], *([one, EOS] for one in plain)]
    every += [[*two, last] for two in itertools.product(plain, repeat=2) for last in MAY]
    values = {tuple(written): score(network, inputs, written) / len(written) ** length_penalty for written in every}
    tokens, scores = decode(network, inputs, max_length=3, beams=len(every), length_penalty=length_penalty)
    found = [tuple(written) for written in trimmed(tokens[0])]
    assert set(found) == set(values)
    assert scores[0].tolist() == pytest.approx([values[written] for written in found], abs=1e-5)
    assert scores[0].tolist() == pytest.approx(sorted(values.values(), reverse=True), abs=1e-5)


@every_network
@pytest.mark.parametrize("beams", [1, 2, 3, 6])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_narrow_beams_follow_the_same_hypotheses(make, beams, length_penalty):
    network = make()
    inputs, lengths = sequences("tokens")
    settings = {"beams": beams, "max_length": 5, "length_penalty": length_penalty}
    tokens, scores = decode(network, inputs, lengths, **settings)
    for row, length in enumerate(lengths):
        expected = searched(network, inputs[row : row + 1, :length], **settings)
        assert trimmed(tokens[row]) == [written for written, _ in expected]
        assert scores[row].tolist() == pytest.approx([value for _, value in expected], abs=1e-5)


@every_network
def test_the_best_comes_first_and_all_are_different(make):
    inputs, lengths = sequences("tokens")
    tokens, scores = decode(make(), inputs, lengths, max_length=6, beams=6)
    assert (scores.diff(dim=1) <= 0).all()
    for row in tokens:
        assert len({tuple(one) for one in trimmed(row)}) == 6


@every_network
def test_a_score_is_the_sequences_own(make):
    network = make()
    inputs, lengths = sequences("tokens")
    tokens, scores = decode(network, inputs, lengths, max_length=6, beams=3, length_penalty=0.7)
    for row, length in enumerate(lengths):
        for written, found in zip(trimmed(tokens[row]), scores[row], strict=True):
            own = score(network, inputs[row : row + 1, :length], written)
            assert float(found) == pytest.approx(own / len(written) ** 0.7, abs=1e-5)


# What is likeliest at once is not what is likeliest in the end: A <eos> has .6 · .6, B C <eos> has .4 · 1 · 1.
GARDEN_PATH = ({BOS: {A: 0.6, B: 0.4}}, {A: {EOS: 0.6, C: 0.4}, B: {C: 1.0}}, {C: {EOS: 1.0}})


def test_a_search_sees_beyond_the_next_token():
    tokens, scores = told(*GARDEN_PATH, max_length=5, beams=1, length_penalty=0.0)
    assert trimmed(tokens[0]) == [[A, EOS]]
    assert float(scores[0, 0]) == pytest.approx(math.log(0.36), abs=1e-5)
    tokens, scores = told(*GARDEN_PATH, max_length=5, beams=2, length_penalty=0.0)
    assert trimmed(tokens[0])[0] == [B, C, EOS]
    assert float(scores[0, 0]) == pytest.approx(math.log(0.4), abs=1e-5)


@pytest.mark.parametrize(
    ("length_penalty", "best"),
    [
        # log .3 / 2^p against log .2 / 4^p: −1.204 and −1.609, −0.851 and −0.805, −0.602 and −0.402.
        (0.0, [A, EOS]),
        (0.4, [A, EOS]),
        (0.5, [B, C, C, EOS]),
        (1.0, [B, C, C, EOS]),
    ],
)
def test_length_penalty_by_hand(length_penalty, best):
    table = (
        {BOS: {A: 0.3, B: 0.2, D: 0.1}},
        {A: {EOS: 1.0}, B: {C: 1.0}, D: {D: 0.01}},
        {C: {C: 1.0}, D: {D: 0.01}},
        {C: {EOS: 1.0}, D: {D: 0.01}},
    )
    # The shares do not sum to 1: what is missing goes to tokens that are never written.
    table = tuple(
        {last: {**after, UNK: 1 - sum(after.values()) or 1e-9} for last, after in one.items()} for one in table
    )
    tokens, scores = told(*table, max_length=6, beams=3, length_penalty=length_penalty)
    assert trimmed(tokens[0])[0] == best
    share = 0.3 if best[0] == A else 0.2
    assert float(scores[0, 0]) == pytest.approx(math.log(share) / len(best) ** length_penalty, abs=1e-4)


# Ends


def test_what_is_finished_stays():
    """The first hypothesis ends at once, the other goes on and on; neither changes the other."""
    endless = ({BOS: {EOS: 0.6, A: 0.4}}, {A: {A: 1.0}})
    tokens, scores = told(*endless, max_length=7, beams=2, length_penalty=0.0)
    assert tokens[0].tolist() == [[EOS, *[PAD] * 6], [A] * 7]
    assert scores[0].tolist() == pytest.approx([math.log(0.6), math.log(0.4)], abs=1e-5)


@pytest.mark.parametrize("settings", [{"beams": 1}, {"beams": 3}, {"temperature": 1.0}], ids=str)
def test_writing_stops_when_all_are_finished(settings):
    steps = ({BOS: {A: 0.5, B: 0.5}}, {A: {A: 1.0}, B: {B: 1.0}}, {A: {EOS: 1.0}, B: {EOS: 1.0}})
    chance = {"uniforms": torch.rand(2, 1, 50)} if "temperature" in settings else {}
    beams = settings.get("beams", 1)
    tokens, _ = told(*steps, rows=2, max_length=50, **settings, **chance)
    assert tokens.shape[:2] == (2, beams)
    assert tokens.shape[2] <= 4
    assert (tokens[:, 0, 2] == EOS).all()


@every_network
@pytest.mark.parametrize("max_length", [1, 2, 9])
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_after_the_end_there_is_padding_alone(make, max_length, temperature):
    inputs, lengths = sequences("tokens", [7, 1, 4, 6, 2, 3, 5, 5])
    chance = torch.rand(8, 4, max_length, generator=torch.Generator().manual_seed(0))
    tokens, scores = decode(
        make(), inputs, lengths, max_length=max_length, beams=4, temperature=temperature, uniforms=chance
    )
    assert tokens.dtype == torch.int64
    assert tokens.shape[:2] == scores.shape == (8, 4)
    assert 1 <= tokens.shape[2] <= max_length
    for written in tokens.flatten(0, 1).tolist():
        end = written.index(EOS) + 1 if EOS in written else len(written)
        assert not set(written[:end]) & NEVER
        assert not any(written[end:])


@pytest.mark.parametrize("settings", [{"beams": 1}, {"beams": 4}, {"temperature": 1.0}, {"temperature": 5.0}], ids=str)
def test_what_says_nothing_is_never_written(settings):
    wrong = {PAD: 0.5, UNK: 0.3, BOS: 0.19}
    table = ({token: {**wrong, A: 0.004, EOS: 0.006} for token in range(10)},)
    chance = {"uniforms": torch.rand(50, 4, 6, generator=torch.Generator().manual_seed(0))}
    tokens, _ = told(*table, rows=50, max_length=6, **{"beams": 4, **settings}, **chance)
    assert set(tokens.flatten().tolist()) <= {A, EOS, PAD}
    assert A in tokens or settings == {"beams": 1}
    for written in tokens.flatten(0, 1).tolist():
        end = written.index(EOS) + 1 if EOS in written else len(written)
        assert not set(written[:end]) & NEVER


@every_network
@pytest.mark.parametrize("length_penalty", [4.0, 10.0])
def test_a_great_length_penalty_lets_nothing_through_that_is_never_written(make, length_penalty):
    """What has no probability counts as such, however long it is."""
    inputs, lengths = sequences("tokens")
    # As many beams as there are tokens to begin with.
    tokens, scores = decode(make(), inputs, lengths, max_length=40, beams=len(MAY), length_penalty=length_penalty)
    for written in tokens.flatten(0, 1).tolist():
        end = written.index(EOS) + 1 if EOS in written else len(written)
        assert not set(written[:end]) & NEVER
    assert (scores.diff(dim=1) <= 0).all()
    for row in tokens:
        assert len({tuple(one) for one in trimmed(row)}) == len(MAY)


def test_a_network_may_be_sure():
    """A token of probability 1 leaves no other hypothesis; those that stand for none are far behind."""
    tokens, scores = told({BOS: {A: 1.0}}, {A: {EOS: 1.0}}, max_length=3, beams=2)
    assert trimmed(tokens[0])[0] == [A, EOS]
    assert float(scores[0, 0]) == pytest.approx(0, abs=1e-5)
    assert float(scores[0, 1]) < -1000


# By chance

SHARES = {A: 0.1, B: 0.2, C: 0.3, D: 0.4}


def drawn(uniform, shares=None, **settings):
    """The first token that a number draws."""
    number = torch.as_tensor(uniform, dtype=torch.float32).reshape(-1, 1, 1)
    options = {"temperature": 1.0, **settings}
    tokens, _ = told({BOS: shares or SHARES}, rows=len(number), max_length=1, uniforms=number, **options)
    return tokens[:, 0, 0].tolist()


@pytest.mark.parametrize(
    ("uniform", "token"),
    [(0.0, A), (0.0999, A), (0.1001, B), (0.2999, B), (0.3001, C), (0.5999, C), (0.6001, D), (LAST, D)],
)
def test_the_token_in_whose_share_the_number_falls(uniform, token):
    assert drawn([uniform]) == [token]


def test_shares_are_of_what_may_be_written():
    # Without the .5 of [UNK], .1 and .4 are .2 and .8.
    shares = {A: 0.1, B: 0.4, UNK: 0.5}
    assert drawn([0.0, 0.199, 0.201, LAST], shares) == [A, A, B, B]


def test_temperature_by_hand():
    """At 1/2, shares are squared: .01 .04 .09 .16 of .3; at 2, they are roots."""
    for temperature in (0.5, 2.0):
        powers = [share ** (1 / temperature) for share in SHARES.values()]
        edges = np.cumsum(powers)[:-1] / sum(powers)
        assert drawn(edges - 1e-4, temperature=temperature) == [A, B, C]
        assert drawn(edges + 1e-4, temperature=temperature) == [B, C, D]


@pytest.mark.parametrize(
    ("top_k", "edges", "order"),
    [(1, [], [D]), (2, [3 / 7], [C, D]), (3, [2 / 9, 5 / 9], [B, C, D]), (4, [0.1, 0.3, 0.6], [A, B, C, D])],
)
def test_top_k_by_hand(top_k, edges, order):
    numbers = [0.0, *(edge + shift for edge in edges for shift in (-1e-4, 1e-4)), LAST]
    assert drawn(numbers, top_k=top_k) == [token for token in order for _ in range(2)]


@pytest.mark.parametrize("top_k", [0, 10, 11, 1000])
def test_top_k_of_all_is_all(top_k):
    numbers = torch.rand(200, generator=torch.Generator().manual_seed(0))
    assert drawn(numbers, top_k=top_k) == drawn(numbers)


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 0), (0.6, 0), (1.7, 0), (1.0, 3), (0.8, 2)])
def test_tokens_are_drawn_as_often_as_their_shares_say(temperature, top_k):
    numbers = torch.rand(3000, generator=torch.Generator().manual_seed(5))
    found = drawn(numbers, temperature=temperature, top_k=top_k)
    kept = sorted(SHARES, key=SHARES.__getitem__)[-top_k:] if top_k else list(SHARES)
    powers = {token: SHARES[token] ** (1 / temperature) for token in kept}
    expected = {token: 3000 * power / sum(powers.values()) for token, power in powers.items()}
    assert set(found) == set(kept)
    squares = sum((found.count(token) - wanted) ** 2 / wanted for token, wanted in expected.items())
    # Chi-square with as many degrees of freedom as kept tokens, less one: beyond this once in a thousand times.
    assert squares < {1: 10.8, 2: 13.8, 3: 16.3}[len(kept) - 1]


@every_network
def test_what_is_drawn_is_scored_by_its_probability(make):
    """By the model's own, whatever the temperature drew it with."""
    network = make()
    inputs, lengths = sequences("tokens")
    chance = torch.rand(4, 3, 6, generator=torch.Generator().manual_seed(1))
    tokens, scores = decode(
        network, inputs, lengths, max_length=6, beams=3, temperature=1.8, top_k=6, uniforms=chance, length_penalty=0.5
    )
    for row, length in enumerate(lengths):
        for written, found in zip(trimmed(tokens[row]), scores[row], strict=True):
            own = score(network, inputs[row : row + 1, :length], written)
            assert float(found) == pytest.approx(own / len(written) ** 0.5, abs=1e-5)


@every_network
@pytest.mark.parametrize(
    ("settings", "number"),
    [
        *(({"temperature": 1.0, "top_k": 1}, number) for number in (0.0, 0.37, LAST)),
        # At 0 exactly, the first token of any share at all is drawn.
        *(({"temperature": 0.002}, number) for number in (0.001, 0.37, 0.999)),
    ],
    ids=str,
)
def test_the_likeliest_alone_is_greedy(make, settings, number):
    network = make()
    inputs, lengths = sequences("tokens")
    greedy, scores = decode(network, inputs, lengths, max_length=6)
    chance = torch.full((4, 1, 6), number)
    found, found_scores = decode(network, inputs, lengths, max_length=6, uniforms=chance, **settings)
    assert torch.equal(found, greedy)
    torch.testing.assert_close(found_scores, scores, rtol=0, atol=1e-6)


@every_network
def test_equal_numbers_draw_equal_tokens_in_any_batch(make):
    network = make()
    inputs, lengths = sequences("tokens")
    chance = torch.from_numpy(seeded(3, range(4), 2, 6))
    tokens, scores = decode(network, inputs, lengths, max_length=6, beams=2, temperature=1.0, uniforms=chance)
    order = torch.tensor([2, 0, 3])
    again, again_scores = decode(
        network,
        inputs[order],
        lengths[order],
        max_length=6,
        beams=2,
        temperature=1.0,
        uniforms=torch.from_numpy(seeded(3, order.numpy(), 2, 6)),
    )
    assert torch.equal(again, tokens[order, :, : again.shape[2]])
    torch.testing.assert_close(again_scores, scores[order], rtol=0, atol=1e-6)
    other, _ = decode(
        network,
        inputs,
        lengths,
        max_length=6,
        beams=2,
        temperature=1.0,
        uniforms=torch.from_numpy(seeded(4, range(4), 2, 6)),
    )
    assert other.shape != tokens.shape or not torch.equal(other, tokens)


def test_drawn_sequences_are_independent():
    """Each has numbers of its own, and none is put before another."""
    network = language_model("gru")
    inputs, lengths = sequences("tokens")
    chance = torch.rand(4, 5, 6, generator=torch.Generator().manual_seed(1))
    tokens, _ = decode(network, inputs, lengths, max_length=6, beams=5, temperature=1.0, uniforms=chance)
    for beam in range(5):
        one, _ = decode(network, inputs, lengths, max_length=6, temperature=1.0, uniforms=chance[:, beam : beam + 1])
        assert torch.equal(one[:, 0], tokens[:, beam, : one.shape[2]])


def test_a_search_needs_no_chance_and_a_draw_does():
    network = language_model("gru")
    inputs, lengths = sequences("tokens")
    chance = torch.rand(4, 2, 5)
    one, _ = decode(network, inputs, lengths, max_length=5, beams=2, uniforms=chance)
    other, _ = decode(network, inputs, lengths, max_length=5, beams=2)
    assert torch.equal(one, other)
    with pytest.raises(ValueError, match="uniforms"):
        decode(network, inputs, lengths, max_length=5, temperature=0.5)


@pytest.mark.parametrize("cell", CELLS)
def test_writing_leaves_no_gradient_behind(cell):
    network = writer(cell, attention=True)
    inputs, lengths = sequences("tokens")
    _, scores = decode(network, inputs, lengths, max_length=4, beams=2)
    assert not scores.requires_grad


def test_what_is_finished_stays_however_much_the_length_counts():
    """Its continuations but padding are impossible, and stay last when they are divided by a long length."""

    class Uniform(torch.nn.Module):
        def step(self, tokens, state, memory):
            return torch.zeros(*tokens.shape, 9), state

    last = torch.full((2, 2), 7)
    total = torch.tensor([[-2.0, -3.0], [-1.0, -4.0]])
    length = torch.tensor([[30, 2], [3, 3]])
    finished = torch.tensor([[True, True], [False, False]])
    tokens = torch.arange(4).view(2, 2, 1)
    hypotheses = (last, total, length, finished, tokens)
    after, _ = BeamStep(Uniform())(hypotheses, (), (), torch.tensor(10.0))
    assert after[1][0].sort().values.tolist() == [-3.0, -2.0]
    assert sorted(after[4][0, :, 0].tolist()) == [0, 1]
    assert after[4][0, :, 1].tolist() == [0, 0]


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_states_lie_without_gaps_for_cudnn(cell):
    decoder = Decoder(cell, 5, TokenEmbedding(9, 4), 6)
    assert all(part.is_contiguous() for part in decoder.start(torch.randn(3, 6)))
