"""Samples of recordings, with inferred voices."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.domains.recordings.config import RecordingTask
from unroll.errors import DataError, SplitError
from unroll.features.groups import given_splits
from unroll.features.samples import Fold, Samples, check_splits

MIXED = "voices-mixed"
"""Name of the fold whose splits share voices; its network is exported, since it is trained on all of them."""


def make_samples(table: pa.Table, section: RecordingTask, name: str) -> Samples:
    """Return recordings of varying length, with splits by voice and a random split.

    Each recording is a sample twice: first with `held_out` 1, for the folds `voice-1`, `voice-2`, …, each of which
    tests on one voice and trains on the others; then with `held_out` 0, for the fold `voices-mixed`.

    Args:
        table: Columns row_id, split, label int64, frames list<fixed_size_list<float32>>.
        section: Parameters of the task.
        name: Name of the task, for error messages.

    Returns:
        inputs float32 [sample, time, feature] (0 after the end), lengths int64 [sample], targets int64 [sample],
        voice int64 [sample] (inferred, from 1), held_out int64 [sample]. Notes: voices (number of recordings of each).

    Raises:
        DataError: A recording has no frames, or a number that is not finite.
        SplitError: There are fewer different recordings than voices, or a split is empty.
    """
    inputs, lengths = _frames(table, name)
    labels = table["label"].to_numpy().astype(np.int64)
    voice = inferred_voices(inputs, lengths, labels, section.voices, section.seed, name)
    count = len(labels)
    folds = [
        _without_voice(f"voice-{one}", voice == one, section.valid_share, section.seed + one)
        for one in range(1, section.voices + 1)
    ]
    given = given_splits(table, name)
    mixed = _given(given) if given is not None else _by_class(labels, section)
    folds.append(Fold(MIXED, mixed.train + count, mixed.valid + count, mixed.test + count))
    check_splits(tuple(folds), name)
    tensors = {
        "inputs": np.concatenate([inputs, inputs]),
        "lengths": np.tile(lengths, 2),
        "targets": np.tile(labels, 2),
        "voice": np.tile(voice, 2),
        "held_out": np.repeat(np.array([1, 0], np.int64), count),
    }
    sizes = np.bincount(voice, minlength=section.voices + 1)[1:]
    notes = {"voices": {str(one + 1): int(size) for one, size in enumerate(sizes)}}
    return Samples(tensors, tuple(folds), notes=notes, shipped_fold=MIXED)


def inferred_voices(
    inputs: NDArray[np.float32],
    lengths: NDArray[np.int64],
    labels: NDArray[np.int64],
    voices: int,
    seed: int,
    name: str,
) -> NDArray[np.int64]:
    """Infer the voice of each recording: int64 [recording], from 1.

    The mean of a recording over time depends on what is said and on who says it. After the mean of all recordings of
    the class is subtracted and each feature is scaled to deviation 1, k-means finds the voices. In the default data,
    the clusters have about 50 recordings of each class, the number that each of its six speakers recorded.

    Args:
        inputs: float32 [recording, time, feature], 0 after the end.
        lengths: int64 [recording].
        labels: int64 [recording].
        voices: Number of voices.
        seed: Seed of k-means.
        name: Name of the task, for error messages.

    Raises:
        SplitError: There are fewer different recordings than voices.
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
            f"tasks.{name}: found {different} different recordings, expected at least {voices}, one for each voice; "
            f"lower tasks.{name}.voices or use more data"
        )
    found = KMeans(voices, n_init=10, random_state=seed).fit_predict(means)
    # Number the voices in the order of their first recordings: the numbers of k-means are arbitrary.
    _, first, cluster = np.unique(found, return_index=True, return_inverse=True)
    voice: NDArray[np.int64] = first.argsort().argsort()[cluster].astype(np.int64) + 1
    return voice


def _frames(table: pa.Table, name: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    column = table["frames"].combine_chunks()
    lengths = np.diff(column.offsets.to_numpy()).astype(np.int64)
    features = column.type.value_type.list_size
    values = column.flatten().flatten().to_numpy(zero_copy_only=False).reshape(-1, features)
    rows = table["row_id"].to_numpy()
    if not lengths.all():
        raise DataError(f"tasks.{name}: the recording of row {rows[int(lengths.argmin())]} has no frames; remove it")
    if not np.isfinite(values).all():
        frame = int((~np.isfinite(values)).any(1).argmax())
        row = rows[int(np.searchsorted(lengths.cumsum(), frame, side="right"))]
        raise DataError(f"tasks.{name}: the recording of row {row} has a number that is not finite; remove it")
    inputs = np.zeros((len(lengths), int(lengths.max()), features), np.float32)
    inputs[np.arange(inputs.shape[1]) < lengths[:, None]] = values
    return inputs, lengths


def _without_voice(name: str, tested: NDArray[np.bool_], valid_share: float, seed: int) -> Fold:
    others = np.random.default_rng(seed).permutation(np.flatnonzero(~tested))
    held = round(valid_share * len(others))
    return Fold(name, np.sort(others[held:]), np.sort(others[:held]), np.flatnonzero(tested))


def _given(splits: NDArray[np.object_]) -> Fold:
    return Fold(MIXED, *(np.flatnonzero(splits == part) for part in ("train", "valid", "test")))


def _by_class(labels: NDArray[np.int64], section: RecordingTask) -> Fold:
    """Split at random, with equal shares of each class."""
    rng = np.random.default_rng(section.seed)
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        ends = np.cumsum([round(section.test_share * len(rows)), round(section.valid_share * len(rows))])
        test, valid, train = np.split(rows, ends)
        for part, own in zip(parts, (train, valid, test), strict=True):
            part.extend(own)
    return Fold(MIXED, *(np.sort(np.array(part, np.int64)) for part in parts))
