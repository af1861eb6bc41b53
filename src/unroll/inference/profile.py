"""Scalar numbers of each row and of each prediction: what expectations are about, and what drift is seen in.

The same functions run over the training split, when a bundle is made, and over each batch that is scored, so that a
number means the same on both sides.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from unroll.features.special_tokens import UNK
from unroll.inference.batches import is_usable, usable
from unroll.inference.card import Answer, Card, quantile_name, stated
from unroll.inference.feeds import steps_of

Numbers = NDArray[np.float64]
Columns = dict[str, Numbers | pa.Array]
"""By the name of the column: numbers, or an Arrow array of categories."""
_BLOCK = 1024
"""Rows that are looked at together: few enough to stay in the processor's cache."""


def profile(batch: pa.RecordBatch, card: Card) -> dict[str, Numbers]:
    """Numbers of each row of a batch as a reader gives it.

    Args:
        batch: Has `inputs`; rows of any number.
        card: Of the model that they are for.

    Returns:
        float64 [row] by the names in `unroll.inference.reference.PROFILED`; NaN where a row has no such number (it has
        no time step, say).

        digits: mean (grey value, 0 to 255), ink (share of pixels above 0). prices: steps, last_move (change of the last
        known price from the day before, 1 = 100 %), volatility (standard deviation of the window's daily log returns).
        text: tokens (as the graph reads them, without the one that stands before every text), unknown_share.
        arrays: steps, mean, deviation, least and most of a row's values.
    """
    of_block = _PROFILES[card.reader]
    starts = range(0, max(len(batch), 1), _BLOCK)
    blocks = [of_block(batch.slice(start, _BLOCK), card) for start in starts]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def with_profile(batch: pa.RecordBatch, card: Card) -> pa.RecordBatch:
    """The batch with its column `profile`: a struct of float64, NaN in rows that cannot be scored."""
    rows = usable(batch)
    columns = profile(rows, card)
    if len(rows) < len(batch):
        columns = {name: _spread(values, is_usable(batch)) for name, values in columns.items()}
    arrays = [pa.array(values) for values in columns.values()]
    return batch.append_column("profile", pa.StructArray.from_arrays(arrays, list(columns)))


def profile_of(batch: pa.RecordBatch) -> dict[str, Numbers]:
    """What `with_profile` has found of these rows, as `profile` gives it."""
    column = batch.column("profile")
    return {field.name: values.to_numpy() for field, values in zip(column.type, column.flatten(), strict=True)}


def _digits(batch: pa.RecordBatch, card: Card) -> dict[str, Numbers]:
    del card
    column = batch.column("inputs")
    pixels = column.flatten().to_numpy().reshape(len(batch), column.type.list_size)
    size = pixels.shape[1]
    return {
        "mean": np.add.reduce(pixels, axis=1, dtype=np.uint32) / size,
        "ink": np.add.reduce(pixels != 0, axis=1, dtype=np.uint32) / size,
    }


def _prices(batch: pa.RecordBatch, card: Card) -> dict[str, Numbers]:
    spec = stated(card.prices)
    column = batch.column("inputs")
    days = column.type.list_size // len(spec.columns)
    values = column.flatten().to_numpy().reshape(len(batch), days, len(spec.columns))
    known = next((name for name in (spec.known, spec.target) if name in spec.columns), spec.columns[0])
    prices = values[:, :, spec.columns.index(known)].astype(np.float64)  # [row, day]
    nothing = np.full(len(batch), np.nan)
    moves = prices.shape[1] > 1
    return {
        "steps": np.full(len(batch), float(prices.shape[1])),
        "last_move": prices[:, -1] / prices[:, -2] - 1 if moves else nothing,
        "volatility": np.diff(np.log(prices), axis=1).std(axis=1) if moves else nothing,
    }


def _texts(batch: pa.RecordBatch, card: Card) -> dict[str, Numbers]:
    spec = stated(card.text)
    steps = steps_of(batch, card)
    numbers = batch.column("inputs").flatten().to_numpy().reshape(-1, 1 + spec.characters)[:, 0]
    unknown = _sums(numbers == UNK, steps)
    tokens = np.maximum(steps - (spec.first_token is not None), 0).astype(np.float64)
    share = np.divide(unknown, tokens, out=np.full(len(steps), np.nan), where=tokens > 0)
    return {"tokens": tokens, "unknown_share": share}


def _spread(values: Numbers, there: NDArray[np.bool_]) -> Numbers:
    """Values of the rows that have one, NaN for the others."""
    whole = np.full(len(there), np.nan)
    whole[there] = values
    return whole


def _sums(values: NDArray[Any], steps: NDArray[np.int64]) -> Numbers:
    """Sum of the values of each row; rows of 2, 0 and 1 step: [1, 2, 5] → [3, 0, 5]."""
    ends = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])[np.cumsum(steps)]
    return np.diff(ends, prepend=0.0)


def _arrays(batch: pa.RecordBatch, card: Card) -> dict[str, Numbers]:
    steps = steps_of(batch, card)
    values = batch.column("inputs").flatten().to_numpy().astype(np.float64)
    there = steps > 0
    sizes = steps[there] * int(card.entry.shape[2])
    starts = np.cumsum(sizes) - sizes

    if not len(sizes):
        return {"steps": steps.astype(np.float64)} | dict.fromkeys(
            ("mean", "deviation", "least", "most"), _spread(np.empty(0), there)
        )
    # Of infinite values there is no mean: that is for the expectations to find.
    with np.errstate(invalid="ignore", over="ignore"):
        means = np.add.reduceat(values, starts) / sizes
        squares = np.add.reduceat((values - np.repeat(means, sizes)) ** 2, starts) / sizes
    return {
        "steps": steps.astype(np.float64),
        "mean": _spread(means, there),
        "deviation": _spread(np.sqrt(squares), there),
        "least": _spread(np.minimum.reduceat(values, starts), there),
        "most": _spread(np.maximum.reduceat(values, starts), there),
    }


_PROFILES: Mapping[str, Callable[[pa.RecordBatch, Card], dict[str, Numbers]]] = {
    "digits": _digits,
    "prices": _prices,
    "text": _texts,
    "arrays": _arrays,
}


def answers(predictions: pa.RecordBatch, card: Card) -> Columns:
    """What the predictions of a batch are like.

    Args:
        predictions: As `Scorer.score` gives them.
        card: Of the model.

    Returns:
        By name. classes: prediction (a category a row), score. price: score (the predicted log return; a price itself
        never stays where it was in training). quantiles: score (the median), spread (highest quantile minus lowest).
        labels: prediction (a category a time step), score. text: score, length (words that were written). A number is
        NaN where a prediction has none.
    """
    return {"score": _floats(predictions.column("score")), **_ANSWERS[card.kind.answer](predictions, card)}


def _floats(column: pa.Array) -> Numbers:
    numbers: Numbers = column.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    return numbers


def _quantile_answers(predictions: pa.RecordBatch, card: Card) -> Columns:
    levels = stated(card.quantiles)
    low, high = (_floats(predictions.column(quantile_name(level))) for level in (min(levels), max(levels)))
    return {"spread": high - low}


def _text_answers(predictions: pa.RecordBatch, card: Card) -> Columns:
    del card
    texts = pc.utf8_trim_whitespace(predictions.column("prediction"))
    # An empty text is split into one empty word.
    words = pc.if_else(pc.equal(texts, ""), 0, pc.list_value_length(pc.utf8_split_whitespace(texts)))
    return {"length": _floats(words)}


_ANSWERS: Mapping[Answer, Callable[[pa.RecordBatch, Card], Columns]] = {
    "classes": lambda predictions, card: {"prediction": predictions.column("prediction")},
    "price": lambda predictions, card: {},
    "quantiles": _quantile_answers,
    "labels": lambda predictions, card: {"prediction": predictions.column("prediction").flatten()},
    "text": _text_answers,
}
