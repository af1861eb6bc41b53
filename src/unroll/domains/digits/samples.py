"""Samples of digit images."""

import numpy as np
import pyarrow as pa

from unroll.domains.digits.config import DigitTask
from unroll.errors import SplitError
from unroll.features.samples import Fold, Samples, check_splits


def make_samples(table: pa.Table, section: DigitTask, name: str) -> Samples:
    """Return images and labels, in file order.

    Args:
        table: Columns split, label, pixels (uint8 [784]).
        section: Parameters of the task.
        name: Name of the task, for error messages.

    Returns:
        inputs uint8 [sample, 28, 28] and targets int64 [sample].
    """
    pixels = table["pixels"].combine_chunks()
    inputs = pixels.flatten().to_numpy(zero_copy_only=False).reshape(-1, 28, 28)
    targets = table["label"].to_numpy().astype(np.int64)
    split = table["split"].to_numpy()
    train, test = np.flatnonzero(split == "train"), np.flatnonzero(split == "test")
    if section.valid_rows >= len(train):
        raise SplitError(
            f"tasks.{name}.valid_rows is {section.valid_rows}, but the training split has {len(train)} rows: "
            "nothing would be left to train on"
        )
    folds = (Fold("all", train[: -section.valid_rows], train[-section.valid_rows :], test),)
    check_splits(folds, name)
    return Samples({"inputs": inputs, "targets": targets}, folds)
