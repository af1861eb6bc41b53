"""Tunes in ABC notation, parsed into music tokens that know no key.

Source: the ABC standard 2.1, https://abcnotation.com/wiki/abc:standard:v2.1.

An accidental holds for its own octave up to the bar line, as in print and in ABC before 2.1. (The standard's present
default is every octave; the collections that are about were typed from print.)

Read are the fields X, T, M, L and K (the last three also within a tune), notes with accidentals, octaves and lengths,
rests, broken rhythm, tuplets, ties, chords (their top note) and bar lines. Repeats and endings are kept as bar lines;
a tune is not unfolded. Grace notes, slurs, decorations, fingerings, lyrics and chord symbols are left out.

Tokens: `mode:MODE`, `meter:METER`, then `P_D` for a note, `r_D` for a rest, `|` for a bar line of any kind. P counts
semitones above the tonic in the octave from middle C (MIDI 60 to 71), D is the duration in 96ths of a whole note.
Worked example, in D major with L:1/8:

    D2 FA | d4 :|    becomes    mode:major meter:4/4 0_24 4_12 7_12 | 12_48 |
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from unroll.domains.tunes import abc_fields
from unroll.domains.tunes.abc_fields import TuneError

WHOLE = 96
"""Duration units of a whole note: an eighth has 12, one of a triplet of sixteenths 4."""
BAR = "|"
TOKEN = re.compile(r"(-?\d+|r)_[1-9]\d*|\|")
"""A note, a rest or a bar line."""

_SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_MIDDLE_C = 60
_LENGTH = r"\d*/*\d*"
_NOTE = re.compile(rf"(?P<alter>\^\^|\^|__|_|=)?(?P<letter>[A-Ga-g])(?P<octave>[,']*)(?P<length>{_LENGTH})(?P<tie>-?)")
_ELEMENT = re.compile(
    rf"""
      (?P<text>"[^"]*")                                       # chord symbol, fingering, annotation
    | (?P<decoration>![^!|\s]+!|\+[A-Za-z.]+\+)
    | (?P<grace>\{{[^}}]*\}})
    | \[(?P<field>[A-Za-z]):(?P<value>[^\]]*)\]
    | (?P<bar>(?:\[?\||:)[|:\]]*(?:\d+(?:[,-]\d+)*)?)         # with the number of an ending
    | (?P<ending>\[\d+(?:[,-]\d+)*)
    | \((?P<tuplet>\d)(?::(?P<time>\d*))?(?::(?P<count>\d*))?
    | \[(?P<chord>[^\]|]*)\](?P<chord_length>{_LENGTH})
    | {_NOTE.pattern}
    | [zx](?P<rest>{_LENGTH})
    | [ZX](?P<bars>\d*)
    | (?P<broken>>+|<+)
    | (?P<late_tie>-)
    | (?P<ignored>y\d*|[\s()\\`~.$*;?@\#!+\]H-Wh-w])          # blanks, slurs, decorations of one letter
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class Tune:
    """One tune of a file."""

    number: str
    """After X:; two tunes of a file may have the same."""
    title: str
    key: str
    """Name of the tonic: `D`, `Bb`, `F#`."""
    mode: str
    meter: str
    tokens: tuple[str, ...]
    rounded: int
    """How many notes and rests are no whole number of 96ths (septuplets and the like): brought to the nearest."""

    @property
    def notes(self) -> int:
        """How many of the tokens are notes."""
        return sum(map(is_note, self.tokens))


@dataclass
class _Event:
    """A note, a rest (pitch None) or a bar line (duration 0)."""

    pitch: int | None
    duration: Fraction
    """Of a whole note."""
    spelling: tuple[str, int] | None = None
    """Letter and octave, by which a tie knows its note again."""
    tied: bool = False


def is_note(token: str) -> bool:
    """Whether a token is a note: no rest, bar line, mode or metre."""
    return token[0] in "-0123456789"


def tonic_pitch(key: str) -> int:
    """MIDI pitch of a tonic (`D`, `Bb`, `F#`) in the octave from middle C: 60 to 71."""
    alter = key.count("#") - key[1:].count("b")
    return _MIDDLE_C + (_SEMITONES[key[0]] + alter) % 12


def split_tunes(lines: list[str]) -> list[list[str]]:
    """Lines of each tune of a file, from its X: to the next; what stands before the first is left out."""
    tunes: list[list[str]] = []
    for line in lines:
        if line.startswith("X:"):
            tunes.append([])
        if tunes:
            tunes[-1].append(line)
    return tunes


def parse_tune(lines: list[str]) -> Tune:
    """Parses the lines of one tune.

    Raises:
        TuneError: It has no key, several voices, or something that is no ABC; the message says what.
    """
    header, body = abc_fields.read(lines)
    reader = _Reader(header)
    for kind, content in body:
        if kind:
            reader.apply(kind, content)
        else:
            reader.read(content)
    tonic = tonic_pitch(header.key.tonic)
    tokens = [f"mode:{header.key.mode}", f"meter:{header.meter}"]
    rounded = 0
    for event in _merged(reader.events):
        if event.duration == 0:
            tokens.append(BAR)
            continue
        exact = event.duration * WHOLE
        rounded += exact.denominator != 1
        pitch = "r" if event.pitch is None else str(event.pitch - tonic)
        tokens.append(f"{pitch}_{max(1, round(exact))}")
    return Tune(header.number, header.title, header.key.tonic, header.key.mode, header.meter, tuple(tokens), rounded)


class _Reader:
    """Goes through the music of a tune and collects its events."""

    def __init__(self, header: abc_fields.Header) -> None:
        self.events: list[_Event] = []
        self._unit = header.unit
        self._meter = header.meter
        self._signature = header.key.signature
        self._altered: dict[tuple[str, int], int] = {}
        """Accidentals of this bar, by letter and octave."""
        self._factor = Fraction(1)
        """What a broken rhythm makes of the next note's length."""
        self._tuplet = (Fraction(1), 0)
        """What a tuplet makes of the length of the next so many notes."""

    def apply(self, field: str, value: str) -> None:
        """A field within the tune; the tonic stays that of the header."""
        if field == "K":
            self._signature = abc_fields.parse_key(value).signature
            self._altered = {}
        elif field == "L":
            self._unit = abc_fields.parse_unit(value)
        elif field == "M":
            self._meter = abc_fields.parse_meter(value)

    def read(self, line: str) -> None:
        """A line of music."""
        place = 0
        while place < len(line):
            match = _ELEMENT.match(line, place)
            if match is None:
                raise TuneError(f"{line[place]!r} in {line.strip()[:60]!r} is no ABC that is understood")
            self._take(match)
            place = match.end()

    def _take(self, match: re.Match[str]) -> None:
        if match["letter"]:
            self._add(*self._note(match), abc_fields.parse_length(match["length"]), bool(match["tie"]))
        elif match["chord"] is not None:
            self._chord(match["chord"], abc_fields.parse_length(match["chord_length"]))
        elif match["rest"] is not None:
            self._add(None, None, abc_fields.parse_length(match["rest"]), False)
        elif match["bars"] is not None:
            bars = Fraction(int(match["bars"] or 1))
            self.events.append(_Event(None, bars * abc_fields.bar_length(self._meter)))
        elif match["bar"]:
            self._altered = {}
            # Two bar lines with nothing between are one, and one before the first note tells nothing.
            if self.events and self.events[-1].duration:
                self.events.append(_Event(None, Fraction(0)))
        elif match["broken"]:
            self._break(match["broken"])
        elif match["tuplet"]:
            notes = int(match["tuplet"])
            time = int(match["time"] or abc_fields.tuplet_time(notes, self._meter))
            if not notes or not time:
                raise TuneError(f"a tuplet of nothing: {match.group()!r}")
            self._tuplet = (Fraction(time, notes), int(match["count"] or notes))
        elif match["late_tie"]:
            if self.events and self.events[-1].pitch is not None:
                self.events[-1].tied = True
        elif match["field"]:
            self.apply(match["field"], match["value"])

    def _note(self, match: re.Match[str]) -> tuple[int, tuple[str, int]]:
        """MIDI pitch, and letter and octave; remembers its accidental for the bar."""
        letter = match["letter"].upper()
        octave = match["letter"].islower() + match["octave"].count("'") - match["octave"].count(",")
        spelling = (letter, octave)
        before = next((event for event in reversed(self.events) if event.duration), None)
        if match["alter"]:
            self._altered[spelling] = abc_fields.ALTERATIONS[match["alter"]]
        elif before is not None and before.tied and before.spelling == spelling and before.pitch is not None:
            # A tie carries its accidental over the bar line.
            return before.pitch, spelling
        alter = self._altered.get(spelling, self._signature.get(letter, 0))
        return _MIDDLE_C + 12 * octave + _SEMITONES[letter] + alter, spelling

    def _chord(self, content: str, length: Fraction) -> None:
        """The top note of a chord, with its own length times the chord's."""
        found = [(*self._note(one), one) for one in _NOTE.finditer(re.sub(r'"[^"]*"|![^!]*!', "", content))]
        if not found:
            raise TuneError(f"a chord without a note: [{content}]")
        pitch, spelling, top = max(found, key=lambda one: one[0])
        self._add(pitch, spelling, abc_fields.parse_length(top["length"]) * length, bool(top["tie"]))

    def _add(self, pitch: int | None, spelling: tuple[str, int] | None, length: Fraction, tied: bool) -> None:
        factor, left = self._tuplet
        duration = self._unit * length * self._factor * (factor if left else 1)
        self._factor = Fraction(1)
        self._tuplet = (factor, max(0, left - 1))
        self.events.append(_Event(pitch, duration, spelling, tied))

    def _break(self, signs: str) -> None:
        """Broken rhythm: `a>b` gives a half of b's length to a; every further sign halves what is left of b."""
        short = Fraction(1, 2 ** len(signs))
        long = 2 - short
        before = next((event for event in reversed(self.events) if event.duration), None)
        if before is None:
            raise TuneError(f"a broken rhythm {signs!r} without a note before it")
        before.duration *= long if signs[0] == ">" else short
        self._factor *= short if signs[0] == ">" else long


def _merged(events: list[_Event]) -> list[_Event]:
    """Events with tied notes of one pitch as one note, which stands where the first stood.

    A tie to another pitch is a slur. Worked example: `G2-|G2 A` becomes `G4 | A`. A bar that a tie fills leaves both
    its bar lines side by side.
    """
    merged: list[_Event] = []
    last: _Event | None = None
    for event in events:
        if event.duration and last is not None and last.tied and event.pitch == last.pitch:
            last.duration += event.duration
            last.tied = event.tied
            continue
        if event.duration:
            last = event
        merged.append(event)
    return merged
