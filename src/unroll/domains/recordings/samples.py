"""Samples of recordings, with voices that are held out: known speakers, or else clusters of recordings."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.domains.recordings.config import RecordingTask
from unroll.errors import DataError, ParameterError, SplitError
from unroll.features.groups import given_splits
from unroll.features.samples import Fold, Samples, Tensors, check_splits

MIXED = "voices-mixed"
"""Name of the fold whose splits share voices; its network is exported, since it is trained on all of them."""
_ROWS = 512
"""Recordings whose spectra are computed together."""

Array = NDArray[Any]


def make_samples(table: pa.Table, section: RecordingTask, name: str) -> Samples:
    """Return recordings of varying length, with splits by voice.

    Where the speakers are known, each is wholly in one split. Where they are not, voices are clusters of recordings,
    and each recording is a sample twice: first with `held_out` 1, for the folds `voice-1`, `voice-2`, …, each of which
    tests on one voice and trains on the others; then with `held_out` 0, for the fold `voices-mixed`.

    Args:
        table: Columns row_id, split, label and speaker; frames list<fixed_size_list<float32>>, or samples
            list<float32>.
        section: Parameters of the task.
        name: Name of the task, for error messages.

    Returns:
        inputs float32 [sample, time, feature] (0 after the end; of sound, a time step is `hop` samples), lengths int64
        [sample], targets int64 [sample], voice int64 [sample] (from 1; 0 if it is not known), held_out int64 [sample]:
        1 if the voice is not in training. Notes: labels (names of the classes), sound (sample_rate and hop), speakers
        or voices (number of recordings of each), remarks (sentences about the splits).

    Raises:
        DataError: A recording has no frames, or a number that is not finite.
        SplitError: There are too few speakers or too few different recordings, or a split is empty.
    """
    labels, notes = _labels(table)
    if "samples" in table.schema.names:
        inputs, lengths, notes["sound"] = _sound(table, section, name)
    else:
        inputs, lengths = _frames(table, name)
    tensors: Tensors = {"inputs": inputs, "lengths": lengths, "targets": labels}
    speakers = np.array(table["speaker"].to_pylist(), object)
    given, count = given_splits(table, name), len(labels)
    if section.hold_out_speakers and not speakers.astype(bool).any():
        return _by_cluster(tensors, given, section, name, notes)
    names, voice = np.unique(speakers.astype(str), return_inverse=True)
    known = bool(speakers.astype(bool).any())
    tensors["voice"] = (voice + 1).astype(np.int64) if known else np.zeros(count, np.int64)
    tensors["held_out"] = np.full(count, int(section.hold_out_speakers), np.int64)
    if section.hold_out_speakers:
        fold = _by_speaker(names, voice, given, section, name)
        _check_classes(fold, labels, name)
        notes["speakers"] = _counts(fold, names, voice)
        tested = len(np.unique(voice[fold.test]))
        notes["remarks"] = [f"tested on {tested:,} of {len(names):,} speakers, none of whom is in training"]
    else:
        fold = _given(given) if given is not None else _by_class(labels, section)
        notes["remarks"] = ["voices of the test may be in training: speakers are not held out (hold_out_speakers)"]
    fold = Fold("all", fold.train, fold.valid, fold.test)
    check_splits((fold,), name)
    return Samples(tensors, (fold,), notes=notes)


def frame_features(inputs: NDArray[np.float32], sound: bool) -> Array:
    """Return features of each time step for baselines and clusters: those of the data, or a log power spectrum.

    Args:
        inputs: float32 [sample, time, feature].
        sound: Whether a time step is a piece of sound rather than features.

    Returns:
        [sample, time, feature].
    """
    if not sound:
        return inputs
    hop = inputs.shape[2]
    return np.log(np.abs(np.fft.rfft(inputs * np.hanning(hop + 2)[1:-1])) ** 2 + 1e-6)


def frame_statistics(inputs: NDArray[np.float32], lengths: NDArray[np.int64], sound: bool = False) -> Array:
    """Return mean and deviation of each of the `frame_features` over the valid frames.

    Args:
        inputs: float32 [sample, time, feature].
        lengths: int64 [sample].
        sound: Whether a time step is a piece of sound.

    Returns:
        float64 [sample, 2 × feature].
    """
    parts = []
    for start in range(0, len(inputs), _ROWS):
        some = slice(start, start + _ROWS)
        features = frame_features(inputs[some], sound)
        valid = (np.arange(inputs.shape[1]) < lengths[some, None])[:, :, None]
        count = np.maximum(lengths[some], 1)[:, None]
        mean = np.where(valid, features, 0).sum(1, dtype=np.float64) / count
        square = np.where(valid, features - mean[:, None, :], 0) ** 2
        parts.append(np.concatenate([mean, np.sqrt(square.sum(1) / count)], axis=1))
    return np.concatenate(parts)


def _by_cluster(
    tensors: Tensors,
    given: NDArray[np.object_] | None,
    section: RecordingTask,
    name: str,
    notes: dict[str, Any],
) -> Samples:
    labels, count = tensors["targets"], len(tensors["targets"])
    statistics = frame_statistics(tensors["inputs"], tensors["lengths"], "sound" in notes)
    means = statistics[:, : statistics.shape[1] // 2]
    voice = inferred_voices(means, labels, section.voices, section.seed, name)
    folds = [
        _without_voice(f"voice-{one}", voice == one, section.valid_share, section.seed + one)
        for one in range(1, section.voices + 1)
    ]
    mixed = _given(given) if given is not None else _by_class(labels, section)
    folds.append(Fold(MIXED, mixed.train + count, mixed.valid + count, mixed.test + count))
    check_splits(tuple(folds), name)
    tensors = {key: np.concatenate([one, one]) for key, one in tensors.items()}
    tensors["voice"] = np.tile(voice, 2)
    tensors["held_out"] = np.repeat(np.array([1, 0], np.int64), count)
    sizes = np.bincount(voice, minlength=section.voices + 1)[1:]
    notes["voices"] = {str(one + 1): int(size) for one, size in enumerate(sizes)}
    notes["remarks"] = [
        f"the data names no speaker: voices are {section.voices} clusters of recordings, so that a speaker may be on "
        "both sides of a split"
    ]
    return Samples(tensors, tuple(folds), notes=notes, shipped_fold=MIXED)


def inferred_voices(
    means: NDArray[np.float64], labels: NDArray[np.int64], voices: int, seed: int, name: str
) -> NDArray[np.int64]:
    """Infer the voice of each recording: int64 [recording], from 1.

    The mean of a recording over time depends on what is said and on who says it. After the mean of all recordings of
    the class is subtracted and each feature is scaled to deviation 1, k-means finds the voices. In the default data,
    the clusters have about 50 recordings of each class, the number that each of its six speakers recorded.

    Args:
        means: Mean of each feature over time, float64 [recording, feature].
        labels: int64 [recording].
        voices: Number of voices.
        seed: Seed of k-means.
        name: Name of the task, for error messages.

    Raises:
        SplitError: There are fewer different recordings than voices.
    """
    from sklearn.cluster import KMeans

    means = means.copy()
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


def _labels(table: pa.Table) -> tuple[NDArray[np.int64], dict[str, Any]]:
    """Return class numbers, and the names of the classes where labels are text: numbers by their values, then words."""
    if not pa.types.is_string(table["label"].type):
        return table["label"].to_numpy().astype(np.int64), {}
    texts = table["label"].to_pylist()
    names = sorted(set(texts), key=lambda one: (not one.isdecimal(), int(one) if one.isdecimal() else 0, one))
    number = {name: place for place, name in enumerate(names)}
    return np.array([number[text] for text in texts], np.int64), {"labels": names}


def _sound(
    table: pa.Table, section: RecordingTask, name: str
) -> tuple[NDArray[np.float32], NDArray[np.int64], Mapping[str, int]]:
    """Return recordings as time steps of `hop` samples, the last one filled with zeros."""
    rate = int(table.schema.metadata[b"sample_rate"])
    if section.front_end.low_hz > 0.9 * rate / 2:
        raise ParameterError(
            f"tasks.{name}.front_end.low_hz is {section.front_end.low_hz:g}, but sound of {rate:,} samples a second "
            f"goes up to {rate / 2:g} Hz"
        )
    hop = round(rate * section.front_end.hop_ms / 1000)
    column = table["samples"].combine_chunks()
    sizes = np.diff(column.offsets.to_numpy())
    lengths = -(-sizes // hop).astype(np.int64)
    inputs = np.zeros((len(sizes), int(lengths.max()) * hop), np.float32)
    inputs[np.arange(inputs.shape[1]) < sizes[:, None]] = column.flatten().to_numpy()
    return inputs.reshape(len(sizes), -1, hop), lengths, {"sample_rate": rate, "hop": hop}


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


def _by_speaker(
    names: Array, voice: Array, given: NDArray[np.object_] | None, section: RecordingTask, name: str
) -> Fold:
    """Put each speaker into one split, drawn by the seed; or check that the given splits do so."""
    remedy = f"set tasks.{name}.hold_out_speakers to false if the test may use voices of the training"
    if given is not None:
        for number, speaker in enumerate(names):
            if len(parts := set(given[voice == number])) > 1:
                raise SplitError(f"tasks.{name}: speaker {speaker} is in {' and '.join(sorted(parts))}; {remedy}")
        return _given(given)
    count = len(names)
    if count < 3:
        raise SplitError(
            f"tasks.{name}: found {count} speakers ({', '.join(names)}), expected at least 3, one for each split; "
            f"{remedy}"
        )
    order = np.random.default_rng(section.seed).permutation(count)
    ends = np.cumsum([max(1, round(share * count)) for share in (section.test_share, section.valid_share)])
    test, valid, train = np.split(order, ends)
    return Fold("all", *(np.flatnonzero(np.isin(voice, part)) for part in (train, valid, test)))


def _check_classes(fold: Fold, labels: Array, name: str) -> None:
    lacking = np.setdiff1d(labels, labels[fold.train])
    if len(lacking) and len(fold.train):
        raise SplitError(
            f"tasks.{name}: no speaker of the training split says class {lacking[0]} (counted from 0); change "
            f"tasks.{name}.seed or the shares"
        )


def _counts(fold: Fold, names: Array, voice: Array) -> dict[str, dict[str, Any]]:
    """Return voice number, split and number of recordings of each speaker."""
    part_of = {
        number: part
        for part, index in (("train", fold.train), ("valid", fold.valid), ("test", fold.test))
        for number in np.unique(voice[index]).tolist()
    }
    sizes = np.bincount(voice, minlength=len(names)).tolist()
    return {
        str(speaker): {"voice": number + 1, "split": part_of[number], "recordings": sizes[number]}
        for number, speaker in enumerate(names)
    }


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
