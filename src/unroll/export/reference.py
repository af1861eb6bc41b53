"""What travels with a model besides its card: what its training rows were like, and what every row has to keep."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from unroll.export.rows import is_prompted, rows_of
from unroll.features.samples import Fold, Index, Tensors, linspace_indices
from unroll.inference.bundle import Bundle
from unroll.inference.card import Card, stated
from unroll.inference.profile import Numbers, answers, profile
from unroll.inference.reference import (
    Bounds,
    CategoryColumn,
    Expectation,
    NumberColumn,
    Reference,
    count_categories,
    count_numbers,
)
from unroll.inference.scorer import Scorer
from unroll.training.inspection import PROMPT_STEPS

ANSWERED = 5_000
"""Rows, at most, that predictions are made for; evenly spaced."""
WRITTEN = 500
"""The same of a model that writes, which takes longer."""
_ROWS = 8192
"""Rows that are looked at together."""
_ENOUGH = 100
"""Rows of a validation split that make a distribution."""
_FITTED = ("unknown_share",)
_LARGEST_MOVE = 0.5
"""A price that halves within a day, or rises by half, is not yet out of the question."""


def describe(bundle: Bundle, tensors: Tensors, fold: Fold) -> tuple[Reference, tuple[Expectation, ...]]:
    """Reference and expectations of a bundle whose graph and card are there.

    Args:
        bundle: Without the two.
        tensors: Of all samples.
        fold: Whose network it is. Bounds and the distributions of rows are those of its training split. What was fitted
            to that very split is counted on the validation split instead, if it has rows enough: words that a
            vocabulary was made of are never unknown to it, and a network is surer of rows that it has learned.
    """
    card = bundle.card
    held_out = fold.valid if len(fold.valid) >= _ENOUGH else fold.train
    columns = _profiled(tensors, fold.train, card)
    counted = columns | {name: values for name, values in _profiled(tensors, held_out, card).items() if name in _FITTED}
    if is_prompted(card):
        # A prompt is a beginning, samples are whole: their lengths tell nothing of each other.
        del counted["tokens"]
    few = held_out[linspace_indices(len(held_out), ANSWERED if card.kind.decoding is None else WRITTEN)]
    found = {name: count_numbers(values) for name, values in counted.items()}
    reference = Reference(
        rows={name: column for name, column in found.items() if column},
        answers=_answer_columns(bundle, rows_of(tensors, few, card, prompt_steps=PROMPT_STEPS)),
    )
    return reference, expectations_of(columns, card)


def _profiled(tensors: Tensors, index: Index, card: Card) -> dict[str, Numbers]:
    starts = range(0, len(index), _ROWS)
    parts = [profile(rows_of(tensors, index[start : start + _ROWS], card), card) for start in starts]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _answer_columns(bundle: Bundle, rows: pa.RecordBatch) -> dict[str, NumberColumn | CategoryColumn]:
    predictions = Scorer(bundle).score(rows)
    found: dict[str, NumberColumn | CategoryColumn] = {}
    for name, values in answers(predictions, bundle.card).items():
        if isinstance(values, np.ndarray):
            if column := count_numbers(values):
                found[name] = column
        elif counts := count_categories(values):
            found[name] = CategoryColumn(counts=counts)
    return found


def expectations_of(columns: Mapping[str, Numbers], card: Card) -> tuple[Expectation, ...]:
    """What a row has to keep, or it is garbage; so generous that no drift fails it.

    Args:
        columns: The training split's profile.
        card: Of the model.
    """
    if card.reader == "digits":
        most = min(1.0, _widened(columns["ink"])[1])
        return (_between("the image is not blank, nor all ink", "ink", (0.0, most), strict_min=True),)
    if card.reader == "prices":
        return _of_prices(columns, card)
    if card.reader == "text":
        return _of_texts(card)
    return _of_arrays(columns)


def _of_prices(columns: Mapping[str, Numbers], card: Card) -> tuple[Expectation, ...]:
    days = float(stated(card.prices).window)
    found = [_between("there are as many days as the model reads", "steps", (days, days))]
    if np.isfinite(columns["last_move"]).all():
        low, high = _widened(columns["last_move"])
        found.append(
            _between(
                "the last price is no slip of the pen (1 = 100 % of the day before's)",
                "last_move",
                (min(low, -_LARGEST_MOVE), max(high, _LARGEST_MOVE)),
            )
        )
    if (columns["volatility"] > 0).all():
        found.append(_between("the price moves within the window", "volatility", (0.0, None), strict_min=True))
    return tuple(found)


def _of_texts(card: Card) -> tuple[Expectation, ...]:
    spec = stated(card.text)
    found = [_between("the text has tokens, and no more than the model reads", "tokens", (1.0, float(spec.max_tokens)))]
    # Whoever reads a token's characters knows something of a token that is unknown.
    if not spec.characters:
        found.append(_between("some token of the text is known", "unknown_share", (0.0, 1.0), strict_max=True))
    return tuple(found)


def _of_arrays(columns: Mapping[str, Numbers]) -> tuple[Expectation, ...]:
    low, high = columns["least"].min(), columns["most"].max()
    found = [
        _between(
            "there are time steps, and no more than twice the longest in training",
            "steps",
            (1.0, 2 * float(columns["steps"].max())),
        ),
        Expectation(what="all values are numbers", column="least", kind="ExpectColumnValuesToNotBeNull"),
        _between("no value is far below those in training", "least", (float(low - (high - low)), None)),
        _between("no value is far above those in training", "most", (None, float(high + (high - low)))),
    ]
    if (columns["deviation"] > 0).all():
        found.append(_between("the values differ", "deviation", (0.0, None), strict_min=True))
    return tuple(found)


def _widened(values: Numbers) -> tuple[float, float]:
    """The range of values, wider by its width on both sides."""
    low, high = float(values.min()), float(values.max())
    return low - (high - low), high + (high - low)


def _between(
    what: str,
    column: str,
    bounds: tuple[float | None, float | None],
    *,
    strict_min: bool = False,
    strict_max: bool = False,
) -> Expectation:
    options = Bounds(min_value=bounds[0], max_value=bounds[1], strict_min=strict_min, strict_max=strict_max)
    return Expectation(what=what, column=column, kind="ExpectColumnValuesToBeBetween", options=options)
