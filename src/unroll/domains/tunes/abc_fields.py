"""Fields of a tune in ABC notation: key, metre, unit of length; and lengths.

Source: the ABC standard 2.1, sections 3 and 4, https://abcnotation.com/wiki/abc:standard:v2.1.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

MODES = ("major", "minor", "dorian", "phrygian", "lydian", "mixolydian", "locrian")
ALTERATIONS = {"^^": 2, "^": 1, "=": 0, "_": -1, "__": -2}

_NAMES = {name[:3]: name for name in MODES} | {"ion": "major", "aeo": "minor"}
_FIFTHS = {"lydian": 1, "major": 0, "mixolydian": -1, "dorian": -2, "minor": -3, "phrygian": -4, "locrian": -5}
"""Sharps more than the major key of the same tonic has."""
_SHARPS = "FCGDAEB"
_KEY = re.compile(r"(?P<tonic>[A-G][#b]?)(?P<blank>\s*)(?P<mode>[A-Za-z]*)(?P<rest>.*)")
_ALTERED = re.compile(r"(\^\^|\^|__|_|=)([A-Ga-g])")
_FIELD = re.compile(r"([A-Za-z]):(?![|:])(.*)")
_COMMENT = re.compile(r"(?<!\\)%.*")
_MAIL = re.compile(r"=(20)?\s*$")
"""A line that ended in a blank, or was broken, as e-mail writes it; many collections came by e-mail."""


class TuneError(Exception):
    """A tune that cannot be parsed."""


@dataclass(frozen=True)
class Key:
    """A tonic, a mode, and what they alter."""

    tonic: str
    mode: str
    signature: Mapping[str, int]
    """Semitones by letter."""


@dataclass(frozen=True)
class Header:
    """What stands before the music."""

    number: str
    title: str
    meter: str
    unit: Fraction
    """Length of a note without a number, of a whole note."""
    key: Key


def read(lines: list[str]) -> tuple[Header, list[tuple[str, str]]]:
    """Header of a tune, and its body: (letter, value) of each field, ("", line) of each line of music.

    Raises:
        TuneError: No key ends the header, a field is not understood, or there are several voices.
    """
    first: dict[str, str] = {}
    body: list[tuple[str, str]] = []
    voices: set[str] = set()
    for raw in lines:
        line = _MAIL.sub("", _COMMENT.sub("", raw)).strip()
        match = _FIELD.match(line)
        letter, value = (match[1], match[2].strip()) if match else ("", line)
        if letter == "V" or (voice := re.search(r"\[V:([^\]]*)\]", line)):
            voices.add((value if letter == "V" else voice[1] if voice else "").split(" ")[0])
        if "K" in first:
            body.append((letter, value))
        elif letter:
            first.setdefault(letter, value)
    if len(voices) > 1:
        raise TuneError(f"it has {len(voices)} voices, one was expected")
    if "K" not in first:
        raise TuneError("it has no key (a line K:), which ends the header")
    meter = parse_meter(first.get("M", "none"))
    unit = parse_unit(first["L"]) if "L" in first else _usual_unit(meter)
    title = " ".join(first.get("T", "").split())
    return Header(first.get("X", ""), title, meter, unit, parse_key(first["K"])), body


def parse_key(text: str) -> Key:
    """Reads `D`, `Em`, `A Minor`, `Edor`, `Bb mix`, `D =c`; nothing or `none` is C without accidentals.

    Raises:
        TuneError: It is no key.
    """
    if text.strip().lower() in ("", "none"):
        text = "C"
    match = _KEY.fullmatch(text.strip())
    if match is None:
        raise TuneError(f"found the key {text!r}, expected a tonic and a mode such as D, Em, Bb, Ador")
    word, rest = match["mode"], match["rest"]
    # One letter tells major and minor by its case; longer names by their first three letters.
    mode = {"": "major", "m": "minor", "M": "major"}.get(word) or _NAMES.get(word[:3].lower())
    if mode is None:
        # After a blank it may be a clef, which changes no pitch.
        if not match["blank"] and word != "exp":
            raise TuneError(f"found the key {text!r}, whose mode {word!r} is none of {', '.join(MODES)}")
        mode, rest = "major", rest if word == "exp" else rest.partition(" ")[2]
    sharps = _sharps(match["tonic"]) + _FIFTHS[mode]
    if abs(sharps) > len(_SHARPS):
        raise TuneError(f"found the key {text!r}, which has more than seven accidentals")
    signature = dict.fromkeys(_SHARPS[:sharps], 1) if sharps >= 0 else dict.fromkeys(_SHARPS[sharps:], -1)
    altered = "".join(part for part in rest.split() if _ALTERED.sub("", part) == "")
    explicit = {letter.upper(): ALTERATIONS[sign] for sign, letter in _ALTERED.findall(altered)}
    # After `exp`, the listed accidentals are all there are.
    return Key(match["tonic"], mode, explicit if word == "exp" else signature | explicit)


def _sharps(tonic: str) -> int:
    """Sharps of the major key of a tonic; flats are negative."""
    return _SHARPS.index(tonic[0]) - 1 + 7 * (tonic.count("#") - tonic[1:].count("b"))


def parse_meter(text: str) -> str:
    """A metre as one word: `6/8`, `C`, `C|`, `none`."""
    return "".join(text.split()) or "none"


def parse_unit(text: str) -> Fraction:
    """Reads `1/8`.

    Raises:
        TuneError: It is no fraction above 0.
    """
    match = re.match(r"(\d+)/(\d+)", text.replace(" ", ""))
    if match is None or not int(match[1]) or not int(match[2]):
        raise TuneError(f"found the unit of length L:{text}, expected one such as 1/8")
    return Fraction(int(match[1]), int(match[2]))


def parse_length(text: str) -> Fraction:
    """Reads the length after a note: nothing is 1, `3/2`, `/` is 1/2, `//` is 1/4.

    Raises:
        TuneError: It is nothing that lasts.
    """
    number, slashes, divisor = re.fullmatch(r"(\d*)(/*)(\d*)", text).groups()  # type: ignore[union-attr]
    below = int(divisor) if divisor else 2 ** len(slashes)
    if number == "0" or below == 0 or (divisor and len(slashes) != 1):
        raise TuneError(f"found the length {text!r} of a note, expected one such as 2, 3/2 or /")
    return Fraction(int(number or 1), below)


def bar_length(meter: str) -> Fraction:
    """Length of a bar, of a whole note.

    Raises:
        TuneError: The metre does not tell.
    """
    if meter in ("C", "C|"):
        return Fraction(1)
    match = re.fullmatch(r"\(?(\d+(?:\+\d+)*)\)?/(\d+)", meter)
    if match is None or not int(match[2]):
        raise TuneError(f"the metre {meter} does not tell how long a bar is")
    return Fraction(sum(map(int, match[1].split("+"))), int(match[2]))


def tuplet_time(notes: int, meter: str) -> int:
    """In the time of how many notes a tuplet of `notes` is played, where it does not say so itself."""
    compound = meter in ("6/8", "9/8", "12/8")
    return {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}.get(notes, 3 if compound else 2)


def _usual_unit(meter: str) -> Fraction:
    short = meter != "none" and bar_length(meter) < Fraction(3, 4)
    return Fraction(1, 16) if short else Fraction(1, 8)
