"""Tunes of music tokens as people play them: ABC notation, and MIDI files.

What tokens are is told by `unroll.domains.tunes.abc_notation` and `unroll.domains.tunes.samples`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from unroll.domains.tunes.abc_fields import ALTERATIONS, MODES, TuneError, parse_key
from unroll.domains.tunes.abc_notation import BAR, TOKEN, WHOLE, parse_tune, tonic_pitch
from unroll.domains.tunes.samples import events_of
from unroll.errors import FormatError, ParameterError
from unroll.files import replacing

EIGHTH = WHOLE // 8
TICKS = 480
"""MIDI ticks of a quarter note."""
LINE = 4
"""Bars on a line."""

_SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_SIGNS = {alter: sign for sign, alter in ALTERATIONS.items()}
_LOWEST, _HIGHEST = -60, 56
"""Semitones from the tonic that are MIDI pitches in every key."""


def notes_to_abc(tokens: Iterable[str], key: str = "D", title: str = "Tune") -> str:
    """A tune in ABC notation; anything among the tokens that is no music is left out.

    Args:
        tokens: `mode:major`, `meter:6/8`, notes, rests and bar lines.
        key: The tonic it is written in: `D`, `Bb`, `F#`.
        title: Its name.

    Returns:
        A whole ABC file, ending in a line feed.

    Raises:
        ParameterError: There is no such key.

    Example:
        In D, `mode:major meter:6/8 0_12 4_12 7_12 12_36 |` has the body `DFA d3 |`.
    """
    mode, meter, notes = _parts(tokens)
    written = key + ("" if mode == "major" else mode[:3])
    tonic, signature = _tonic(key), _signature(written)
    beat = 3 * EIGHTH if meter in ("6/8", "9/8", "12/8") else 2 * EIGHTH
    bars = [_bar(bar, tonic, signature, beat) for bar in _bars(notes)]
    lines = [" ".join(bars[start : start + LINE]) for start in range(0, len(bars), LINE)]
    header = ["X:1", f"T:{' '.join(title.split())}", f"M:{meter}", "L:1/8", f"K:{written}"]
    return "\n".join([*header, *lines, ""])


def abc_to_notes(text: str) -> tuple[str, ...]:
    """Reads what `notes_to_abc` wrote.

    Raises:
        FormatError: It is no tune in ABC notation.
    """
    try:
        return parse_tune(text.splitlines()).tokens
    except TuneError as error:
        raise FormatError(f"{text.splitlines()[:2]} … is no tune in ABC notation: {error}") from error


def notes_to_midi(tokens: Iterable[str], key: str, path: Path) -> None:
    """Writes a tune as a MIDI file of one track, 120 quarter notes a minute; equal tunes are equal bytes.

    Args:
        tokens: As `notes_to_abc` takes them.
        key: The tonic it is played in.
        path: File to write.

    Raises:
        ParameterError: There is no such key.
    """
    from mido import Message, MetaMessage, MidiFile, MidiTrack, bpm2tempo

    _, meter, notes = _parts(tokens)
    top, bottom = {"C": "4/4", "C|": "2/2", "none": "4/4"}.get(meter, meter).split("/")
    tonic = _tonic(key)
    track = MidiTrack()
    track.append(MetaMessage("set_tempo", tempo=bpm2tempo(120)))
    track.append(MetaMessage("time_signature", numerator=int(top), denominator=int(bottom)))
    waited = 0
    for token in notes:
        if token == BAR:
            continue
        pitch, duration = _note(token)
        ticks = duration * 4 * TICKS // WHOLE
        if pitch is None:
            waited += ticks
            continue
        sounding = tonic + pitch
        track.append(Message("note_on", note=sounding, velocity=80, time=waited))
        track.append(Message("note_off", note=sounding, velocity=0, time=ticks))
        waited = 0
    track.append(MetaMessage("end_of_track", time=waited))
    with replacing(path) as part:
        MidiFile(type=0, ticks_per_beat=TICKS, tracks=[track]).save(part)


def _parts(tokens: Iterable[str]) -> tuple[str, str, list[str]]:
    """Mode, metre, and the notes, rests and bar lines; major and no metre where the tokens do not tell."""
    mode, meter = "", ""
    notes: list[str] = []
    for token in events_of(tokens):
        field, colon, value = token.partition(":")
        if colon and field == "mode" and value in MODES:
            mode = mode or value
        elif colon and field == "meter" and _is_meter(value):
            meter = meter or value
        elif TOKEN.fullmatch(token) and (token == BAR or _playable(token)) and (token != BAR or notes[-1:] != [BAR]):
            # Two bar lines with nothing between are one.
            notes.append(token)
    return mode or "major", meter or "none", notes[1:] if notes[:1] == [BAR] else notes


def _tonic(key: str) -> int:
    if not re.fullmatch("[A-G][#b]?", key):
        raise ParameterError(f"there is no key {key!r}; take a tonic such as D, G, Bb or F#")
    return tonic_pitch(key)


def _signature(key: str) -> Mapping[str, int]:
    try:
        return parse_key(key).signature
    except TuneError as error:
        raise ParameterError(f"nothing is written in {key!r}: {error}; take another tonic, such as D or G") from error


def _is_meter(text: str) -> bool:
    top, slash, bottom = text.partition("/")
    # MIDI knows powers of two below the line.
    whole = top.isdecimal() and bottom in ("1", "2", "4", "8", "16", "32") and 0 < int(top) < 256
    return text in ("C", "C|", "none") or (bool(slash) and whole)


def _playable(token: str) -> bool:
    pitch, _ = _note(token)
    return pitch is None or _LOWEST <= pitch <= _HIGHEST


def _note(token: str) -> tuple[int | None, int]:
    """Semitones above the tonic (None for a rest), and 96ths of a whole note."""
    pitch, duration = token.split("_")
    return None if pitch == "r" else int(pitch), int(duration)


def _bars(notes: Sequence[str]) -> list[list[str]]:
    """Notes bar by bar, each but perhaps the last with the bar line that ends it."""
    bars: list[list[str]] = [[]]
    for token in notes:
        bars[-1].append(token)
        if token == BAR:
            bars.append([])
    return [bar for bar in bars if bar]


def _bar(tokens: Sequence[str], tonic: int, signature: Mapping[str, int], beat: int) -> str:
    """One bar: notes of a beat stand together, and three equal notes in the time of two are a triplet."""
    text, place, since = "", 0, 0
    altered: dict[str, int] = {}
    while place < len(tokens):
        token = tokens[place]
        if token == BAR:
            return f"{text} {BAR}"
        _, duration = _note(token)
        three = tokens[place : place + 3]
        is_triplet = duration % 3 != 0 and len(three) == 3 and all(one.endswith(f"_{duration}") for one in three)
        group = three if is_triplet else [token]
        text += (" " if text and since % beat == 0 else "") + ("(3" if is_triplet else "")
        for one in group:
            pitch, _ = _note(one)
            name = "z" if pitch is None else _spelled(tonic + pitch, signature, altered)
            text += name + _length(Fraction(duration, EIGHTH) * (Fraction(3, 2) if is_triplet else 1))
        since += duration * len(group)
        place += len(group)
    return text


def _spelled(pitch: int, signature: Mapping[str, int], altered: dict[str, int]) -> str:
    """A pitch as a letter in its octave, with an accidental where key and bar do not say it; remembers that.

    Example:
        In D, 66 is `F` and 65 is `=F`; a 66 later in that bar is `^F`.
    """
    flats = any(alter < 0 for alter in signature.values())
    # What the key has, then what is natural, then one sign away.
    wanted = [(letter, signature.get(letter, 0)) for letter in _SEMITONES]
    wanted += [(letter, alter) for alter in (0, -1 if flats else 1) for letter in _SEMITONES]
    letter, alter = next(one for one in wanted if (pitch - _SEMITONES[one[0]] - one[1]) % 12 == 0)
    octave = (pitch - 60 - _SEMITONES[letter] - alter) // 12
    # Some read an accidental for its octave alone: it is written again for each note that it holds for.
    sign = _SIGNS[alter] if letter in altered or alter != signature.get(letter, 0) else ""
    if sign:
        altered[letter] = alter
    name = letter if octave < 1 else letter.lower()
    return sign + name + ("'" * (octave - 1) if octave > 0 else "," * -octave)


def _length(eighths: Fraction) -> str:
    """Length of a note in eighths: nothing for one, `3`, `3/2`, `/2`."""
    top = "" if eighths.numerator == 1 else str(eighths.numerator)
    return top + ("" if eighths.denominator == 1 else f"/{eighths.denominator}")
