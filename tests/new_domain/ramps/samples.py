"""Samples of ramps, split at random."""

import numpy as np

from unroll.features.samples import Fold, Samples, check_splits

DIRECTIONS = ("down", "up")


def make_samples(table, section, name):
    """Return inputs float32 [sample, time, 1], lengths int64 [sample] and targets int64 [sample]."""
    rows = table["values"].to_pylist()
    lengths = np.array([len(row) for row in rows])
    inputs = np.zeros((len(rows), lengths.max(), 1), np.float32)
    for sample, row in zip(inputs, rows, strict=True):
        sample[: len(row), 0] = row
    targets = np.array([DIRECTIONS.index(one) for one in table["direction"].to_pylist()])
    train, valid, test = np.split(np.random.default_rng(0).permutation(len(rows)), [len(rows) // 2, len(rows) * 3 // 4])
    check_splits((Fold("all", train, valid, test),), name)
    return Samples({"inputs": inputs, "lengths": lengths, "targets": targets}, (Fold("all", train, valid, test),))
