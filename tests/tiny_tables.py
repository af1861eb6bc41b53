"""Tiny generated tables, as `ingest` writes them, with something to learn."""

from typing import Any

import numpy as np
import pyarrow as pa

from unroll.domains import domain_of

FEATURES = 4
"""Features of a frame of a recording."""
_ENGLISH = ("one", "two", "three", "four", "five", "six", "seven", "eight")
_FRENCH = ("un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit")


def table(domain: str, rows: list[dict[str, Any]], first: int = 0) -> pa.Table:
    """Return rows as `ingest` writes them: numbered, and without a split unless they have one."""
    dataset = domain_of(domain).part("dataset")
    schema = dataset.schema(FEATURES) if domain == "recordings" else dataset.SCHEMA
    return pa.Table.from_pylist(
        [{"row_id": first + number, "split": None, **row} for number, row in enumerate(rows)], schema
    )


def texts(count: int = 160, *, rated: bool = False, seed: int = 0) -> pa.Table:
    """Return reviews of one to eleven words whose last judging word decides the class.

    Ratings are from −3 to 3, and one in three is near 0.
    """
    rng = np.random.default_rng(seed)
    good, bad, plain = ("fine", "great", "lovely"), ("dull", "poor", "awful"), ("film", "plot", "cast", "it", "was")
    rows = []
    for row in range(count):
        mood = (row % 2) * 2 - 1
        strength = rng.uniform(1.5, 3) if row % 3 else rng.uniform(-0.5, 0.5)
        words = [*rng.choice(plain, rng.integers(0, 9)), rng.choice(bad if mood > 0 else good)]
        words += [*rng.choice(plain, rng.integers(0, 2)), rng.choice(good if mood > 0 else bad)]
        text = " ".join(words[-1:] if row < 2 else [*words, f"no{row}"])
        rows.append({"text": text, **({"rating": mood * strength} if rated else {"label": ("bad", "good")[row % 2]})})
    return table("texts", rows)


def series(days: int = 120, seed: int = 0) -> pa.Table:
    """Return two series of days, whose load follows the day of the week, a holiday and the wind of the day before."""
    rng = np.random.default_rng(seed)
    parts = []
    for name in ("north", "south"):
        at = np.arange(days)
        wind, holiday = rng.normal(0, 1, days), (rng.random(days) < 0.1).astype(float)
        load = 50 + 10 * np.sin(2 * np.pi * at / 7) - 8 * holiday + 2 * np.roll(wind, 1) + rng.normal(0, 0.5, days)
        columns = {
            "series": pa.array([name] * days),
            "time": pa.array((np.datetime64("2021-03-01") + at).astype("datetime64[s]")),
            "load": load,
            "heat": load / 3 + rng.normal(0, 0.5, days),
            "wind": wind,
            "holiday": holiday,
        }
        parts.append(pa.table(columns))
    return pa.concat_tables(parts)


def pairs(count: int = 160, seed: int = 0) -> pa.Table:
    """Return one to six numbers in English, and in French in the opposite order."""
    rng = np.random.default_rng(seed)
    found: dict[str, str] = {}
    while len(found) < count:
        digits = rng.integers(0, len(_ENGLISH), 1 if len(found) < 8 else rng.integers(1, 7))
        found[" ".join(_ENGLISH[one] for one in digits)] = " ".join(_FRENCH[one] for one in digits[::-1])
    return table("pairs", [{"source": source, "target": target} for source, target in found.items()])


def articles(lines: int = 60, seed: int = 0) -> pa.Table:
    """Return lines of one to twelve words, each of which in nine of ten cases depends on the one three before it.

    The first two thirds are for training.
    """
    rng = np.random.default_rng(seed)
    rows, held = [], lines // 6
    for line in range(lines):
        numbers = rng.integers(0, 12, 3).tolist()
        while len(numbers) < 12:
            numbers.append(int(rng.integers(12)) if rng.random() < 0.1 else (numbers[-3] + 1) % 12)
        split = "train" if line < lines - 2 * held else "valid" if line < lines - held else "test"
        rows.append({"split": split, "text": " ".join(f"w{number}" for number in numbers[: rng.integers(1, 13)])})
    return table("articles", rows)


def tunes(count: int = 40, seed: int = 0) -> pa.Table:
    """Return tunes of 12 to 30 notes in ABC notation; in two of three cases a step repeats the one before it."""
    rng = np.random.default_rng(seed)
    rows = []
    for row in range(count):
        place, step, notes = 7, 1, []
        for _ in range(rng.integers(12, 31)):
            step = step if rng.random() < 2 / 3 else int(rng.integers(-3, 4))
            place = (place + step) % 14
            notes.append("CDEFGABcdefgab"[place])
        rows.append({"text": f"M:{('4/4', '6/8')[row % 2]}\nK:G\n|: {' '.join(notes)} :|"})
    return table("tunes", rows)


def recordings(each: int = 5, classes: int = 4, voices: int = 3, seed: int = 0) -> pa.Table:
    """Return recordings of two to fourteen frames: the class decides which feature rises, the voice the level."""
    rng = np.random.default_rng(seed)
    kinds = [(label, voice) for label in range(classes) for voice in range(voices) for _ in range(each)]
    rng.shuffle(kinds)
    rows = []
    for label, voice in kinds:
        time = int(rng.integers(2, 15))
        frame = 10.0 * voice + rng.normal(0, 0.3, (time, FEATURES))
        frame[:, label % FEATURES] += np.linspace(0, 6, time)
        rows.append({"label": label, "frames": frame.tolist()})
    return table("recordings", rows)


def sound(each: int = 4, classes: int = 3, seed: int = 0) -> pa.Table:
    """Return tones of 20 to 60 ms at 8,000 Hz: the class decides the pitch, one of four speakers the loudness."""
    rng = np.random.default_rng(seed)
    kinds = [(label, speaker) for label in range(classes) for speaker in "abcd" for _ in range(each)]
    rng.shuffle(kinds)
    rows = []
    for row, (label, speaker) in enumerate(kinds):
        tone = np.sin(2 * np.pi * (400 + 600 * int(label)) / 8000 * np.arange(rng.integers(160, 480)))
        samples = 0.1 * (1 + "abcd".index(speaker)) * tone + rng.normal(0, 0.01, len(tone))
        file = f"{label}_{speaker}_{row}.wav"
        rows.append({"label": str(label), "speaker": speaker, "file": file, "samples": samples.astype("f4").tolist()})
    return pa.Table.from_pylist(
        [{"row_id": row, "split": None, **one} for row, one in enumerate(rows)],
        domain_of("recordings").part("sound").schema(8000),
    )


def tagged(count: int = 90, seed: int = 0) -> pa.Table:
    """Return sentences of one to twelve tokens; the word before a name decides whether it is a person or a place."""
    rng = np.random.default_rng(seed)
    names = ("jordan", "paris", "chelsea", "sydney", "austin", "florence")
    rows = []
    for row in range(count):
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
        split = ("train", "train", "train", "valid", "test")[row % 5]
        rows.append({"split": split, "tokens": [str(token) for token in tokens], "tags": own})
    return table("tagged", rows)
