from collections import Counter

import pytest

from unroll.domains.tunes import abc_fields, abc_notation
from unroll.domains.tunes.abc_fields import TuneError


def _parse(music: str, key: str = "C", meter: str = "4/4", unit: str = "1/8", **fields: str) -> abc_notation.Tune:
    header = {"X": "1", "T": "A tune", "M": meter, "L": unit, **fields, "K": key}
    return abc_notation.parse_tune([*(f"{name}:{value}" for name, value in header.items()), *music.split("\n")])


def _tokens(music: str, key: str = "C", meter: str = "4/4", **fields: str) -> str:
    """What follows mode and meter."""
    return " ".join(_parse(music, key, meter, **fields).tokens[2:])


def test_worked_example() -> None:
    tune = _parse("D2 FA | d4 :|", key="D")
    assert " ".join(tune.tokens) == "mode:major meter:4/4 0_24 4_12 7_12 | 12_48 |"
    assert (tune.number, tune.title, tune.key, tune.mode, tune.meter) == ("1", "A tune", "D", "major", "4/4")
    assert (tune.notes, tune.rounded) == (4, 0)


# Pitches in C are semitones above middle C, durations 96ths with L:1/8.
@pytest.mark.parametrize(
    ("music", "expected"),
    [
        ("C D E F G A B c", "0_12 2_12 4_12 5_12 7_12 9_12 11_12 12_12"),
        ("C, c' B,, b''", "-12_12 24_12 -13_12 47_12"),
        ("C2 C3/2 C/ C// C/4 C3/", "0_24 0_18 0_6 0_3 0_3 0_18"),
        ("^C _D =E ^^F __G", "1_12 1_12 4_12 7_12 5_12"),
        ("z2 C x/ Z2", "r_24 0_12 r_6 r_192"),
        ("A>B A<B", "9_18 11_6 9_6 11_18"),
        ("A>>B A<<B", "9_21 11_3 9_3 11_21"),
        ("c>z (A> B)", "12_18 r_6 9_18 11_6"),
        ('A>"4".u~B A<{cd}B', "9_18 11_6 9_6 11_18"),
        ("A2>B2", "9_36 11_12"),
        ("(3ABc d", "9_8 11_8 12_8 14_12"),
        ("((3ABc) (3:2:2AB c", "9_8 11_8 12_8 9_8 11_8 12_12"),
        ("(2AB (4ABAB", "9_18 11_18 9_9 11_9 9_9 11_9"),
        ("(3z[CE]c C", "r_8 4_8 12_8 0_12"),
        ("(3A>Bc", "9_12 11_4 12_8"),
        ("[CEG] [C2e2] [CE]2 [C2E2]/", "7_12 16_24 4_24 4_12"),
        ('["x"EC]', "4_12"),
        ("(AB) .c ~d !trill!e +fermata+f Tg ua vb", "9_12 11_12 12_12 14_12 16_12 17_12 19_12 21_12 23_12"),
        ('"Am"A "^Segno"B "0"c {dcB}d {/e}d y2 d', "9_12 11_12 12_12 14_12 14_12 14_12"),
        ("A `B * c \\", "9_12 11_12 12_12"),
    ],
)
def test_notes(music: str, expected: str) -> None:
    assert _tokens(music) == expected


@pytest.mark.parametrize(
    ("music", "expected"),
    [
        ("|: C :| D ||E|]", "0_12 | 2_12 | 4_12 |"),
        ("C:: D |1 E :|2 F [1 G |[2 A", "0_12 | 2_12 | 4_12 | 5_12 7_12 | 9_12"),
        ("C |\n| D H[|]|] E", "0_12 | 2_12 | 4_12"),
        ("[| C :||: D |1,3 E |1-2 F", "0_12 | 2_12 | 4_12 | 5_12"),
    ],
)
def test_bar_lines_of_every_kind_are_one(music: str, expected: str) -> None:
    assert _tokens(music) == expected


@pytest.mark.parametrize(
    ("music", "expected"),
    [
        ("C2-C", "0_36"),
        ("C-C C", "0_24 0_12"),
        ("C2-|C2-|C D", "0_60 | | 2_12"),
        ("(C2-|1 C D", "0_36 | 2_12"),
        ("(C2-)(C D)", "0_36 2_12"),
        # To another pitch it is a slur.
        ("C-D", "0_12 2_12"),
        ("C-z C", "0_12 r_12 0_12"),
        ("[CE-][EG] [CE]-[CE]", "4_12 7_12 4_24"),
        # The broken rhythm is that of the tied note alone.
        ("C2-C>D", "0_42 2_6"),
    ],
)
def test_ties(music: str, expected: str) -> None:
    assert _tokens(music) == expected


def test_accidentals_hold_to_the_bar_line_in_their_octave() -> None:
    assert _tokens("^F F f =F F | F") == "6_12 6_12 17_12 5_12 5_12 | 5_12"
    assert _tokens("^f f | f", key="G") == "11_12 11_12 | 11_12"
    assert _tokens("[^FA] F") == "9_12 6_12"


def test_a_tie_carries_its_accidental_over_the_bar_line() -> None:
    assert _tokens("^F-|F F") == "6_24 | 5_12"


@pytest.mark.parametrize(
    ("key", "tonic", "mode", "scale"),
    [
        ("D", "D", "major", "0 2 4 5 7 9 11"),
        ("Em", "E", "minor", "0 2 3 5 7 8 10"),
        ("Amin", "A", "minor", "0 2 3 5 7 8 10"),
        ("A Minor", "A", "minor", "0 2 3 5 7 8 10"),
        ("GM", "G", "major", "0 2 4 5 7 9 11"),
        ("Bb", "Bb", "major", "0 2 4 5 7 9 11"),
        ("F#m", "F#", "minor", "0 2 3 5 7 8 10"),
        ("EDorian", "E", "dorian", "0 2 3 5 7 9 10"),
        ("A mix", "A", "mixolydian", "0 2 4 5 7 9 10"),
        ("Glyd % two sharps in the book", "G", "lydian", "0 2 4 6 7 9 11"),
        ("Bphr", "B", "phrygian", "0 1 3 5 7 8 10"),
        ("Bloc", "B", "locrian", "0 1 3 5 6 8 10"),
        ("Gaeo", "G", "minor", "0 2 3 5 7 8 10"),
        ("Cion", "C", "major", "0 2 4 5 7 9 11"),
        ("Eb middle=d", "Eb", "major", "0 2 4 5 7 9 11"),
        ("D =c clef=bass ^g", "D", "major", "0 2 4 6 7 9 10"),
        ("Eb clef=bass", "Eb", "major", "0 2 4 5 7 9 11"),
        ("D treble", "D", "major", "0 2 4 5 7 9 11"),
        ("Dmix=c^g", "D", "mixolydian", "0 2 4 6 7 9 10"),
        ("D exp _B", "D", "major", "0 2 3 5 7 8 10"),
        ("none", "C", "major", "0 2 4 5 7 9 11"),
    ],
)
def test_every_key_has_its_scale(key: str, tonic: str, mode: str, scale: str) -> None:
    letters = "CDEFGABcdefgab"
    start = letters.index(tonic[0])
    tune = _parse(" ".join(letters[start : start + 7]), key=key)
    assert (tune.key, tune.mode) == (tonic, mode)
    assert tune.tokens[2:] == tuple(f"{pitch}_12" for pitch in scale.split())


@pytest.mark.parametrize(
    ("key", "pitch"), [("C", 60), ("D", 62), ("F#", 66), ("Gb", 66), ("Bb", 70), ("B", 71), ("Cb", 71)]
)
def test_tonics_stand_in_the_octave_from_middle_c(key: str, pitch: int) -> None:
    assert abc_notation.tonic_pitch(key) == pitch


def test_fields_within_a_tune() -> None:
    music = "F C2 |\nL:1/16\nK:D\nF C2 [L:1/4] F [K:C] F\nw: some words\nP:B\n% nothing\nf::"
    assert _tokens(music) == "5_12 0_24 | 6_6 1_12 6_24 5_24 17_24 |"


@pytest.mark.parametrize(
    ("meter", "unit"), [("6/8", 12), ("2/4", 6), ("C", 12), ("C|", 12), ("none", 12), ("3/4", 12), ("(2+3)/8", 6)]
)
def test_usual_unit_of_length_goes_by_the_meter(meter: str, unit: int) -> None:
    lines = ["X:1", f"M: {meter} ", "K:C", "C"]
    assert abc_notation.parse_tune(lines).tokens == ("mode:major", f"meter:{meter}", f"0_{unit}")


def test_tuplets_go_by_the_meter() -> None:
    assert _tokens("(5CCCCC", meter="6/8").split()[0] == "0_7"
    tune = _parse("(5CCCCC", meter="2/4")
    # 12 · 2/5 = 4.8 is no whole number.
    assert tune.tokens[2:] == ("0_5",) * 5
    assert tune.rounded == 5
    assert _tokens("Z", meter="3/4") == "r_72"


def test_line_ends_of_e_mail_are_no_music() -> None:
    assert _tokens("C D |=20\nE F=\nG") == "0_12 2_12 | 4_12 5_12 7_12"


def test_tunes_of_a_file() -> None:
    lines = ["a collection", "X:1", "K:C", "C", "", "X:2", "K:D"]
    assert abc_notation.split_tunes(lines) == [["X:1", "K:C", "C", ""], ["X:2", "K:D"]]


@pytest.mark.parametrize(
    ("music", "fields", "told"),
    [
        ("C =| D", {}, "'=' in 'C =| D' is no ABC that is understood"),
        ("C & E", {}, "'&' in 'C & E' is no ABC"),
        ("C 2 D", {}, "'2' in 'C 2 D' is no ABC"),
        ("> C", {}, "a broken rhythm '>' without a note before it"),
        ("[u]", {}, r"a chord without a note: \[u\]"),
        ("C0", {}, "found the length '0' of a note, expected one such as 2, 3/2 or /"),
        ("C//2", {}, "found the length '//2' of a note"),
        ("C/0", {}, "found the length '/0' of a note"),
        ("(0CD", {}, "a tuplet of nothing"),
        ("C\nV:1\nD\nV:2\nE", {}, "it has 2 voices, one was expected"),
        ("[V:1] C\n[V:2] D", {}, "it has 2 voices"),
        ("C", {"key": "H"}, "found the key 'H', expected a tonic and a mode such as D, Em, Bb, Ador"),
        ("C", {"key": "Gmjr"}, "found the key 'Gmjr', whose mode 'mjr' is none of major, minor"),
        ("C", {"key": "G#"}, "found the key 'G#', which has more than seven accidentals"),
        ("C", {"unit": "an eighth"}, "found the unit of length L:an eighth, expected one such as 1/8"),
        ("Z", {"meter": "none"}, "the metre none does not tell how long a bar is"),
    ],
)
def test_what_cannot_be_parsed(music: str, fields: dict[str, str], told: str) -> None:
    with pytest.raises(TuneError, match=told):
        _parse(music, **fields)


def test_tune_without_a_key() -> None:
    with pytest.raises(TuneError, match="it has no key"):
        abc_notation.parse_tune(["X:1", "C D E"])


def test_every_mode_is_named_once() -> None:
    assert Counter(abc_fields.MODES).most_common(1)[0][1] == 1
    assert {abc_fields.parse_key(f"C {mode}").mode for mode in abc_fields.MODES} == set(abc_fields.MODES)
