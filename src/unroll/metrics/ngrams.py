"""n-gram language models, the baselines of networks that predict the next token."""

import numpy as np
from numpy.typing import NDArray

from unroll.features.special_tokens import IGNORE_INDEX, PAD

Ids = NDArray[np.int64]


def ngram_log_probabilities(
    train: tuple[Ids, Ids], test: tuple[Ids, Ids], order: int, size: int
) -> NDArray[np.float32]:
    """Return the log probabilities (nats) of the test targets by an n-gram model with absolute discounting.

    The model is interpolated. Its lower orders count the different tokens before an n-gram, not its occurrences (Kneser
    & Ney), and the lowest one is mixed with the uniform distribution, so that every token has some probability.

    Args:
        train: Inputs and targets int64 [row, time]; each target follows the input at its position. Targets of
            IGNORE_INDEX are not counted.
        test: The same of the test split.
        order: 1 for unigrams, 2 for bigrams, 3 for trigrams.
        size: Size of the vocabulary.

    Returns:
        float32 [test row, time]; 0 where the target is IGNORE_INDEX.

    Raises:
        ValueError: The n-grams of this vocabulary cannot be numbered with 63 bits.

    Source: Kneser & Ney 1995; Chen & Goodman 1999, section 2.7, with one discount n1 / (n1 + 2·n2) for each order.

    Example:
        Bigrams a·b twice and a·c once, with discount D: P(b | a) = (2 − D)/3 + 2·D/3 · P(b): what the two different
        bigrams after a are discounted by goes to the unigrams.
    """
    if size**order >= 2**63:
        raise ValueError(f"{order}-grams of {size} tokens are more than 63 bits can tell apart")
    grams, counts = np.unique(_grams(*train, order, size), return_counts=True)
    orders = [(grams, counts)]
    for length in range(order - 1, 0, -1):
        grams, counts = np.unique(grams % size**length, return_counts=True)
        orders.append((grams, counts))
    wanted = _grams(*test, order, size)
    probability = np.full(len(wanted), 1 / size)
    for length, (grams, counts) in enumerate(reversed(orders), start=1):
        probability = _interpolated(grams, counts, wanted % size**length, probability, size)
    found = np.zeros(test[1].shape, np.float32)
    found[test[1] != IGNORE_INDEX] = np.log(probability)
    return found


def _interpolated(grams: Ids, counts: Ids, wanted: Ids, lower: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the probabilities of the last tokens of n-grams: discounted counts plus a share of the lower order.

    Args:
        grams: Different n-grams of the training split, sorted, int64 [gram].
        counts: Their counts, int64 [gram].
        wanted: n-grams of the test split, int64 [target].
        lower: Probabilities by the next lower order, float64 [target].
        size: Size of the vocabulary.
    """
    once, twice = np.count_nonzero(counts == 1), np.count_nonzero(counts == 2)
    discount = once / (once + 2 * twice) if once and twice else 0.5
    contexts, place = np.unique(grams // size, return_inverse=True)
    totals, kinds = np.bincount(place, counts), np.bincount(place)
    seen, gram = _find(grams, wanted)
    known, context = _find(contexts, wanted // size)
    own = np.where(seen, np.maximum(counts[gram] - discount, 0), 0)
    mixed: NDArray[np.float64] = (own + discount * kinds[context] * lower) / totals[context]
    return np.where(known, mixed, lower)


def _grams(inputs: Ids, targets: Ids, order: int, size: int) -> Ids:
    """Return each target with the tokens before it as one number, int64 [target]; PAD precedes a row.

    Example:
        With order 3 and size 10: …4, 5 before 6 → 456; without its first token 456 % 100 = 56, its context 456 // 10.
    """
    steps = inputs.shape[1]
    # inputs[:, t] is the token right before targets[:, t], inputs[:, t − 1] the one before that.
    past = np.pad(inputs, ((0, 0), (max(order - 2, 0), 0)), constant_values=PAD)
    keys = np.zeros(targets.shape, np.int64)
    for column in (*(past[:, back : back + steps] for back in range(order - 1)), targets):
        keys = keys * size + column
    counted: Ids = keys[targets != IGNORE_INDEX]
    return counted


def _find(keys: Ids, wanted: Ids) -> tuple[NDArray[np.bool_], Ids]:
    """Return whether each wanted key is among the sorted keys, and at which position."""
    position = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return keys[position] == wanted, position
