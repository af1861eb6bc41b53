"""Recordings, and whose voice is in them."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.domains.recordings.config import RecordingTask
from unroll.errors import DataError, SplitError
from unroll.features.groups import given_splits
from unroll.features.samples import Fold, Samples, check_splits

MIXED = "voices-mixed"
"""Name of the fold whose splits share voices; it sorts behind the others."""


def make_samples(table: pa.Table, task: RecordingTask, name: str) -> Samples:
    """Recordings of varying length, once to be judged on voices held out, once on a random split.

    Every recording stands here twice: first all with `held_out` 1, for the folds `voice-1`, `voice-2`, …, each of which
    tests on one voice and trains on the others; then all with `held_out` 0, for the fold `voices-mixed`.

    Args:
        table: Columns row_id, split, label int64, frames list<fixed_size_list<float32>>.
        task: Its parameters.
        name: Its name, for error messages.

    Returns:
        inputs float32 [sample, time, feature] (0 after the end), lengths int64 [sample], targets int64 [sample],
        voice int64 [sample] (1, 2, …; inferred), held_out int64 [sample]. Notes: voices (recordings of each).

    Raises:
        DataError: A recording has no frames, or one is no finite number.
        SplitError: There are fewer recordings than voices, or a split is empty.
    """
    inputs, lengths = _frames(table, name)
    labels = table["label"].to_numpy().astype(np.int64)
    voice = inferred_voices(inputs, lengths, labels, task.voices, task.seed, name)
    count = len(labels)
    width = len(str(task.voices))
    # Sorted by name, the ninth comes before the tenth.
    folds = [
        _without_voice(f"voice-{one:0{width}}", voice == one, task.valid_share, task.seed + one)
        for one in range(1, task.voices + 1)
    ]
    given = given_splits(table, name)
    mixed = _given(given) if given is not None else _by_class(labels, task)
    folds.append(Fold(MIXED, mixed.train + count, mixed.valid + count, mixed.test + count))
    check_splits(tuple(folds), name)
    tensors = {
        "inputs": np.concatenate([inputs, inputs]),
        "lengths": np.tile(lengths, 2),
        "targets": np.tile(labels, 2),
        "voice": np.tile(voice, 2),
        "held_out": np.repeat(np.array([1, 0], np.int64), count),
    }
    sizes = np.bincount(voice, minlength=task.voices + 1)[1:]
    return Samples(tensors, tuple(folds), notes={"voices": {str(one + 1): int(size) for one, size in enumerate(sizes)}})


def inferred_voices(
    inputs: NDArray[np.float32],
    lengths: NDArray[np.int64],
    labels: NDArray[np.int64],
    voices: int,
    seed: int,
    name: str,
) -> NDArray[np.int64]:
    """Guesses who speaks, where the data does not say: int64 [recording], from 1.

    A recording's mean over time tells what is said and who says it. Without the mean of all recordings of the same
    class, and each feature scaled to deviation 1, k-means finds the voices. On the default data this gives groups of
    about 50 recordings of each class, as many as each of its six speakers recorded.

    Args:
        inputs: float32 [recording, time, feature], 0 after the end.
        lengths: int64 [recording].
        labels: int64 [recording].
        voices: How many.
        seed: Of the first guesses.
        name: The task's, for error messages.

    Raises:
        SplitError: The recordings are fewer, or as many of them are alike that there are fewer voices.
    """
    from sklearn.cluster import KMeans

    means = inputs.astype(np.float64).sum(1) / lengths[:, None]
    for label in np.unique(labels):
        means[labels == label] -= means[labels == label].mean(0)
    deviation = means.std(0)
    means /= np.where(deviation > 0, deviation, 1)
    different = len(np.unique(means, axis=0))
    if different < voices:
        raise SplitError(
            f"tasks.{name}: {different} different recordings cannot be of {voices} voices; lower tasks.{name}.voices "
            "or bring more data"
        )
    found = KMeans(voices, n_init=10, random_state=seed).fit_predict(means)
    # Numbered by their first recordings: the clusters' own numbers mean nothing.
    _, first, place = np.unique(found, return_index=True, return_inverse=True)
    ranks: NDArray[np.int64] = first.argsort().argsort()[place].astype(np.int64) + 1
    return ranks


def _frames(table: pa.Table, name: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    column = table["frames"].combine_chunks()
    lengths = np.diff(column.offsets.to_numpy()).astype(np.int64)
    features = column.type.value_type.list_size
    values = column.flatten().flatten().to_numpy(zero_copy_only=False).reshape(-1, features)
    rows = table["row_id"].to_numpy()
    if not lengths.all():
        raise DataError(f"tasks.{name}: the recording of row {rows[int(lengths.argmin())]} has no frames; take it out")
    if not np.isfinite(values).all():
        frame = int((~np.isfinite(values)).any(1).argmax())
        row = rows[int(np.searchsorted(lengths.cumsum(), frame, side="right"))]
        raise DataError(f"tasks.{name}: the recording of row {row} has a number that is not finite; take it out")
    inputs = np.zeros((len(lengths), int(lengths.max()), features), np.float32)
    inputs[np.arange(inputs.shape[1]) < lengths[:, None]] = values
    return inputs, lengths


def _without_voice(name: str, tested: NDArray[np.bool_], valid_share: float, seed: int) -> Fold:
    others = np.random.default_rng(seed).permutation(np.flatnonzero(~tested))
    held = round(valid_share * len(others))
    return Fold(name, np.sort(others[held:]), np.sort(others[:held]), np.flatnonzero(tested))


def _given(splits: NDArray[np.object_]) -> Fold:
    return Fold(MIXED, *(np.flatnonzero(splits == part) for part in ("train", "valid", "test")))


def _by_class(labels: NDArray[np.int64], task: RecordingTask) -> Fold:
    """By chance, with the same shares of every class."""
    rng = np.random.default_rng(task.seed)
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        ends = np.cumsum([round(task.test_share * len(rows)), round(task.valid_share * len(rows))])
        test, valid, train = np.split(rows, ends)
        for part, own in zip(parts, (train, valid, test), strict=True):
            part.extend(own)
    return Fold(MIXED, *(np.sort(np.array(part, np.int64)) for part in parts))
