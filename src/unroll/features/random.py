"""Uniform numbers for sampling, the same in training, export and scoring."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def uniforms(seed: int, rows: Sequence[int] | NDArray[np.int64], beams: int, steps: int) -> NDArray[np.float32]:
    """Return uniform numbers for rows, which do not depend on the other rows of the batch.

    Args:
        seed: Seed, 0 or more.
        rows: Number of each row, 0 or more.
        beams: Sequences for each row.
        steps: Numbers for each sequence.

    Returns:
        float32 [row, beam, step] in [0, 1), from PCG64 seeded with (seed, row).
    """
    drawn = np.empty((len(rows), beams, steps), np.float32)
    for index, row in enumerate(rows):
        numbers = np.random.PCG64((seed, int(row))).random_raw(beams * steps)
        # The upper 24 bits, the precision of a float32. NumPy keeps the bits of PCG64 across versions, not its floats.
        drawn[index] = ((numbers >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)).reshape(beams, steps)
    return drawn
