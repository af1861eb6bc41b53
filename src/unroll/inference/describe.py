"""Make the reference distributions and the bounds that a bundle carries for drift and row checks."""

import numpy as np
import pyarrow as pa

from unroll.features.samples import PROMPT_STEPS, Fold, Index, Tensors, linspace_indices
from unroll.inference.bundle import Bundle
from unroll.inference.card import Card
from unroll.inference.interface import Numbers
from unroll.inference.profile import prediction_profile, profile
from unroll.inference.reference import (
    CategoryColumn,
    Expectation,
    NumberColumn,
    Reference,
    count_categories,
    count_numbers,
)
from unroll.inference.sample_rows import sample_rows, takes_prompts
from unroll.inference.scorer import Scorer

PREDICTED_ROWS = 5_000
"""Maximum number of rows to predict, evenly spaced."""
GENERATED_ROWS = 200
"""The same for a generator, which takes longer."""
_CHUNK_ROWS = 8192
MIN_VALID_ROWS = 100
"""Rows of a validation split that are enough for a distribution."""
_FITTED = ("unknown_share",)
"""Columns that depend on the vocabulary, which was fitted to the training split."""


def describe(bundle: Bundle, tensors: Tensors, fold: Fold) -> tuple[Reference, tuple[Expectation, ...]]:
    """Return reference distributions and bounds for a bundle that has a graph and a card.

    Bounds and distributions of rows are those of the training split. What was fitted to that split is counted on the
    validation split instead, if that is large enough: the vocabulary knows every training word, and a network is more
    certain of rows that it has learned.
    """
    card = bundle.card
    held_out = fold.valid if len(fold.valid) >= MIN_VALID_ROWS else fold.train
    columns = _profiled(tensors, fold.train, card)
    counted = columns | {name: values for name, values in _profiled(tensors, held_out, card).items() if name in _FITTED}
    if takes_prompts(card):
        # Samples are whole texts, prompts only their beginnings: the lengths are not comparable.
        del counted["tokens"]
    some = held_out[
        linspace_indices(len(held_out), PREDICTED_ROWS if card.interface.decoding is None else GENERATED_ROWS)
    ]
    found = {name: count_numbers(values) for name, values in counted.items()}
    reference = Reference(
        rows={name: column for name, column in found.items() if column},
        predictions=_prediction_columns(bundle, sample_rows(tensors, some, card, prompt_steps=PROMPT_STEPS)),
    )
    return reference, card.interface.reader.bounds(columns, card)


def _profiled(tensors: Tensors, index: Index, card: Card) -> dict[str, Numbers]:
    starts = range(0, len(index), _CHUNK_ROWS)
    parts = [profile(sample_rows(tensors, index[start : start + _CHUNK_ROWS], card), card) for start in starts]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _prediction_columns(bundle: Bundle, rows: pa.RecordBatch) -> dict[str, NumberColumn | CategoryColumn]:
    predictions = Scorer(bundle).score(rows)
    found: dict[str, NumberColumn | CategoryColumn] = {}
    for name, values in prediction_profile(predictions, bundle.card).items():
        if isinstance(values, np.ndarray):
            if column := count_numbers(values):
                found[name] = column
        elif counts := count_categories(values):
            found[name] = CategoryColumn(counts=counts)
    return found
