"""Scalar numbers of each row and of each prediction, which expectations and drift refer to.

The same functions run over the training split, when a bundle is made, and over each batch that is scored, so that a
number means the same on both sides.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.inference.card import Card
from unroll.inference.columns import to_floats
from unroll.inference.interface import Columns, Numbers

_BLOCK = 1024
"""Rows that are profiled together: few enough to stay in the processor's cache."""


def profile(batch: pa.RecordBatch, card: Card) -> dict[str, Numbers]:
    """Return numbers that describe each row of a batch.

    Args:
        batch: Has `inputs`; rows of any number.
        card: Of the model that they are for.

    Returns:
        float64 [row] by name; NaN where a row has no such number.
    """
    of_block = card.interface.reader.profile
    starts = range(0, max(len(batch), 1), _BLOCK)
    blocks = [of_block(batch.slice(start, _BLOCK), card) for start in starts]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def fill_with_nan(values: Numbers, present: NDArray[np.bool_]) -> Numbers:
    """Return the values of the rows that have one, NaN for the others."""
    whole = np.full(len(present), np.nan)
    whole[present] = values
    return whole


def prediction_profile(predictions: pa.RecordBatch, card: Card) -> Columns:
    """Describe the predictions of a batch.

    Args:
        predictions: As `Scorer.score` gives them.
        card: Card of the model.

    Returns:
        Numbers, or an Arrow array of categories, by name: `score`, and what the kind of prediction adds. A number is
        NaN where a prediction has none.
    """
    return {"score": to_floats(predictions.column("score")), **card.interface.output.summary(predictions, card)}
