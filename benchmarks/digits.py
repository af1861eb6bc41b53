"""Digits to measure with: real ones where `make run` has fetched them, random bytes elsewhere."""

from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from unroll import paths

SIDE = 28


def digits(split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64], str]:
    """All digits of a split.

    Returns:
        Pixels uint8 [digit, 28, 28], labels int64 [digit], and what they are, for a note.
    """
    path = paths.raw("mnist") / "digits.parquet"
    if path.exists():
        table = pq.read_table(path, columns=["split", "label", "pixels"])
        table = table.filter(pc.equal(table["split"], split))
        pixels: NDArray[Any] = table["pixels"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return (
            pixels.reshape(-1, SIDE, SIDE),
            table["label"].to_numpy().astype(np.int64),
            f"digits of the {split} split",
        )
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (20_000, SIDE, SIDE), dtype=np.uint8)
    return pixels, random.integers(0, 10, len(pixels)), f"random bytes, because {path} is not there"
