"""Numbers to draw with: the same everywhere, for training, export and scoring."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def uniforms(seed: int, rows: Sequence[int] | NDArray[np.int64], beams: int, steps: int) -> NDArray[np.float32]:
    """Numbers for rows that are drawn, whatever batch they are in.

    Args:
        seed: 0 or more.
        rows: Number of each row, 0 or more.
        beams: Sequences a row.
        steps: Numbers a sequence.

    Returns:
        float32 [row, beam, step] in [0, 1), of PCG64 seeded with (seed, row).
    """
    drawn = np.empty((len(rows), beams, steps), np.float32)
    for place, row in enumerate(rows):
        numbers = np.random.PCG64((seed, int(row))).random_raw(beams * steps)
        # The upper 24 bits, as many as a float32 holds: numpy promises these bits for good, its floats it does not.
        drawn[place] = ((numbers >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)).reshape(beams, steps)
    return drawn
