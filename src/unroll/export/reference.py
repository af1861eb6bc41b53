"""What travels with a model besides its card: what its training rows were like, and what every row has to keep."""

import numpy as np
import pyarrow as pa

from unroll.export.rows import is_prompted, rows_of
from unroll.features.samples import Fold, Index, Tensors, linspace_indices
from unroll.inference.bundle import Bundle
from unroll.inference.card import Card
from unroll.inference.interface import Numbers
from unroll.inference.profile import answers, profile
from unroll.inference.reference import (
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
    few = held_out[linspace_indices(len(held_out), ANSWERED if card.interface.decoding is None else WRITTEN)]
    found = {name: count_numbers(values) for name, values in counted.items()}
    reference = Reference(
        rows={name: column for name, column in found.items() if column},
        answers=_answer_columns(bundle, rows_of(tensors, few, card, prompt_steps=PROMPT_STEPS)),
    )
    return reference, card.interface.reader.bounds(columns, card)


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
