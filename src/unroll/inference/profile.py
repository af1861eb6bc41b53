"""Scalar numbers of each row and of each prediction, which expectations and drift refer to.

The same functions run over the training split, when a bundle is made, and over each batch that is scored, so that a
number means the same on both sides.
"""

import numpy as np
import pyarrow as pa

from unroll.inference.card import Card
from unroll.inference.columns import to_floats
from unroll.inference.interface import Columns, Numbers

_BLOCK = 1024
"""Rows that are profiled together: few enough to stay in the processor's cache."""


def profile(batch: pa.RecordBatch, card: Card) -> dict[str, Numbers]:
    """Return numbers that describe each row of a batch, float64 [row] by name; NaN where a row has no such number."""
    of_block = card.interface.reader.profile
    starts = range(0, max(len(batch), 1), _BLOCK)
    blocks = [of_block(batch.slice(start, _BLOCK), card) for start in starts]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def prediction_profile(predictions: pa.RecordBatch, card: Card) -> Columns:
    """Return numbers, or an Arrow array of categories, that describe predictions, by name.

    They are `score`, and what the kind of prediction adds. A number is NaN where a prediction has none.
    """
    return {"score": to_floats(predictions.column("score")), **card.interface.output.summary(predictions, card)}
