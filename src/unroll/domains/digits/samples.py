"""Samples of images in classes."""

import json

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.domains.digits.config import DigitTask
from unroll.errors import SplitError
from unroll.features.groups import connected, share_fold
from unroll.features.samples import Fold, Samples, check_splits

_DIGITS = [str(digit) for digit in range(10)]


def make_samples(table: pa.Table, section: DigitTask, name: str) -> Samples:
    """Return images and their classes, in file order.

    Images that came without a split are split at random, equal ones together.

    Args:
        table: Columns split, label, pixels (uint8 [height * width]), and the metadata of `dataset`.
        section: Parameters of the task.
        name: Name of the task, for error messages.

    Returns:
        inputs uint8 [sample, height, width] and targets int64 [sample], the numbers of the classes. Notes: labels, the
        names of the classes, unless they are the digits.
    """
    metadata = {key.decode(): value for key, value in (table.schema.metadata or {}).items()}
    lists = table["pixels"].combine_chunks()
    side = round(lists.type.list_size**0.5)
    height, width = json.loads(metadata.get("image_size", f"[{side}, {side}]"))
    inputs = lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, height, width)
    targets = table["label"].to_numpy().astype(np.int64)
    names = json.loads(metadata.get("labels", "null"))
    if names is None and targets.max(initial=0) > 9:
        # Such as the letters 1 to 26.
        values, targets = np.unique(targets, return_inverse=True)
        names = [str(value) for value in values]
    fold = _fold(table, inputs, section, name)
    check_splits((fold,), name)
    return Samples(
        {"inputs": inputs, "targets": targets},
        (fold,),
        notes={} if names in (None, _DIGITS) else {"labels": names},
    )


def _fold(table: pa.Table, inputs: NDArray[np.uint8], section: DigitTask, name: str) -> Fold:
    splits = table["split"]
    if splits.null_count == len(splits):
        return share_fold(connected([image.tobytes()] for image in inputs), None, section.splits)[0]
    split = splits.to_numpy()
    train, test = np.flatnonzero(split == "train"), np.flatnonzero(split == "test")
    if section.valid_rows >= len(train):
        raise SplitError(
            f"tasks.{name}.valid_rows is {section.valid_rows}, but the training split has {len(train)} rows: "
            "nothing would be left to train on"
        )
    return Fold("all", train[: -section.valid_rows], train[-section.valid_rows :], test)
