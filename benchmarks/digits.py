"""MNIST digits to measure with, as `make run` has fetched them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.figures import BenchmarkError
from unroll import paths

SIDE = 28
GROUP_ROWS = 200_000
"""Rows of a row group: more than a small file has, so that a reader of whole row groups shows in the memory."""


def digits(split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return pixels uint8 [digit, 28, 28] and labels int64 [digit] of a split."""
    path = paths.table("mnist", "digits")
    if not path.exists():
        raise BenchmarkError(f"{path} is not there; run `make run` first")
    table = pq.read_table(path, columns=["split", "label", "pixels"])
    table = table.filter(pc.equal(table["split"], split))
    pixels = table["pixels"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return pixels.reshape(-1, SIDE, SIDE), table["label"].to_numpy().astype(np.int64)


def write_digits(path: Path, rows: int) -> None:
    """Write digits of the test split over and over: the same row group, but for the ids."""
    pixels, _ = digits("test")
    size = min(rows, GROUP_ROWS)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(np.resize(pixels, size * SIDE * SIDE)), SIDE * SIDE)
    schema = pa.schema([("row_id", pa.int64()), ("pixels", lists.type)])
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, rows, size):
            count = min(size, rows - first)
            ids = pa.array(np.arange(first, first + count))
            writer.write_table(pa.table([ids, lists.slice(0, count)], schema=schema))


def bundle(experiment: str) -> Path:
    """Return the bundle of a trained experiment."""
    folder = paths.bundle(experiment)
    if not folder.exists():
        raise BenchmarkError(f"{experiment} is not trained yet; run `make run` first")
    return folder
