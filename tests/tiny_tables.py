"""Tiny generated tables, as `ingest` writes them, with something to learn."""

import numpy as np
import pyarrow as pa

FEATURES = 4
"""Features of a frame of a recording."""
_ENGLISH = ("one", "two", "three", "four", "five", "six", "seven", "eight")
_FRENCH = ("un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit")


def texts(count: int = 160, *, rated: bool = False, seed: int = 0) -> pa.Table:
    """Return reviews of one to eleven words whose last judging word decides the class.

    Ratings are from −3 to 3, and one in three is near 0.
    """
    rng = np.random.default_rng(seed)
    good, bad, plain = ("fine", "great", "lovely"), ("dull", "poor", "awful"), ("film", "plot", "cast", "it", "was")
    lines, ratings = [], []
    for row in range(count):
        mood = (row % 2) * 2 - 1
        strength = rng.uniform(1.5, 3) if row % 3 else rng.uniform(-0.5, 0.5)
        words = [*rng.choice(plain, rng.integers(0, 9)), rng.choice(bad if mood > 0 else good)]
        words += [*rng.choice(plain, rng.integers(0, 2)), rng.choice(good if mood > 0 else bad)]
        lines.append(" ".join(words[-1:] if row < 2 else [*words, f"no{row}"]))
        ratings.append(mood * strength)
    return pa.table(
        {
            "row_id": pa.array(np.arange(count), pa.int64()),
            "split": pa.nulls(count, pa.string()),
            "text": pa.array(lines, pa.string()),
            "label": pa.nulls(count, pa.string()) if rated else pa.array(["bad", "good"] * (count // 2), pa.string()),
            "rating": pa.array(ratings, pa.float64()) if rated else pa.nulls(count, pa.float64()),
        }
    )


def pairs(count: int = 160, seed: int = 0) -> pa.Table:
    """Return one to six numbers in English, and in French in the opposite order."""
    rng = np.random.default_rng(seed)
    found: dict[str, str] = {}
    while len(found) < count:
        digits = rng.integers(0, len(_ENGLISH), 1 if len(found) < 8 else rng.integers(1, 7))
        found[" ".join(_ENGLISH[one] for one in digits)] = " ".join(_FRENCH[one] for one in digits[::-1])
    return pa.table(
        {
            "row_id": pa.array(np.arange(count), pa.int64()),
            "split": pa.nulls(count, pa.string()),
            "source": pa.array(list(found), pa.string()),
            "target": pa.array(list(found.values()), pa.string()),
        }
    )


def articles(lines: int = 60, seed: int = 0) -> pa.Table:
    """Return lines of one to twelve words, each of which in nine of ten cases depends on the one three before it.

    The first two thirds are for training.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(lines):
        numbers = rng.integers(0, 12, 3).tolist()
        while len(numbers) < 12:
            numbers.append(int(rng.integers(12)) if rng.random() < 0.1 else (numbers[-3] + 1) % 12)
        found.append(" ".join(f"w{number}" for number in numbers[: rng.integers(1, 13)]))
    held = lines // 6
    return pa.table(
        {
            "row_id": pa.array(np.arange(lines), pa.int64()),
            "split": pa.array(["train"] * (lines - 2 * held) + ["valid"] * held + ["test"] * held, pa.string()),
            "text": pa.array(found, pa.string()),
        }
    )


def tunes(count: int = 40, seed: int = 0) -> pa.Table:
    """Return tunes of 12 to 30 notes in ABC notation; in two of three cases a step repeats the one before it."""
    rng = np.random.default_rng(seed)
    texts = []
    for row in range(count):
        place, step, notes = 7, 1, []
        for _ in range(rng.integers(12, 31)):
            step = step if rng.random() < 2 / 3 else int(rng.integers(-3, 4))
            place = (place + step) % 14
            notes.append("CDEFGABcdefgab"[place])
        texts.append(f"M:{('4/4', '6/8')[row % 2]}\nK:G\n|: {' '.join(notes)} :|")
    return pa.table(
        {
            "row_id": pa.array(np.arange(count), pa.int64()),
            "split": pa.nulls(count, pa.string()),
            "text": pa.array(texts, pa.string()),
        }
    )


def recordings(each: int = 5, classes: int = 4, voices: int = 3, seed: int = 0) -> pa.Table:
    """Return recordings of two to fourteen frames: the class decides which feature rises, the voice the level."""
    rng = np.random.default_rng(seed)
    rows = [(label, voice) for label in range(classes) for voice in range(voices) for _ in range(each)]
    rng.shuffle(rows)
    frames = []
    for label, voice in rows:
        time = int(rng.integers(2, 15))
        frame = 10.0 * voice + rng.normal(0, 0.3, (time, FEATURES))
        frame[:, label % FEATURES] += np.linspace(0, 6, time)
        frames.append([[float(value) for value in step] for step in frame])
    return pa.table(
        {
            "row_id": pa.array(np.arange(len(rows)), pa.int64()),
            "split": pa.nulls(len(rows), pa.string()),
            "label": pa.array([label for label, _ in rows], pa.int64()),
            "frames": pa.array(frames, pa.list_(pa.list_(pa.float32(), FEATURES))),
        }
    )


def tagged(count: int = 90, seed: int = 0) -> pa.Table:
    """Return sentences of one to twelve tokens; the word before a name decides whether it is a person or a place."""
    rng = np.random.default_rng(seed)
    names = ("jordan", "paris", "chelsea", "sydney", "austin", "florence")
    sentences, tags = [], []
    for _ in range(count):
        tokens, own = [], []
        for _ in range(rng.integers(1, 5)):
            kind = rng.integers(4)
            if kind == 0:
                tokens.append(rng.choice(("and", "then", "there", "slowly")))
                own.append("O")
            elif kind == 1:
                tokens += ["in", rng.choice(names)]
                own += ["O", "B-LOC"]
            else:
                tokens += ["met", rng.choice(names), *rng.choice(names, kind - 2)]
                own += ["O", "B-PER", *["I-PER"] * (kind - 2)]
        sentences.append([str(token) for token in tokens])
        tags.append(own)
    return pa.table(
        {
            "row_id": pa.array(np.arange(count), pa.int64()),
            "split": pa.array([("train", "train", "train", "valid", "test")[row % 5] for row in range(count)]),
            "tokens": pa.array(sentences, pa.list_(pa.string())),
            "tags": pa.array(tags, pa.list_(pa.string())),
        }
    )
