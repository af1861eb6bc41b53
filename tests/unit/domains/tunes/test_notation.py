"""Tunes as ABC and MIDI, and back."""

import pytest

from unroll.domains.tunes.notation import abc_to_notes, notes_to_abc, notes_to_midi
from unroll.domains.tunes.samples import durations_told_once
from unroll.errors import FormatError, ParameterError


def _tokens(text):
    return text.split()


JIG = _tokens("mode:major meter:6/8 0_12 4_12 7_12 12_36 | 11_24 9_12 7_18 r_18 |")
REEL = _tokens("mode:dorian meter:C| -5_12 | 0_12 3_12 7_12 10_12 12_8 10_8 9_8 7_24 | 6_12 7_12 6_12 r_12 0_48 |")
ODD = _tokens(
    "mode:minor meter:2/4 0_6 1_6 2_6 3_6 4_6 5_6 6_6 7_6 | 8_3 9_9 10_27 11_2 11_2 11_2 -13_60 | 24_12 25_16"
)


def body(text):
    return text.split("\n", 5)[5].strip()


def test_by_hand():
    assert notes_to_abc(JIG, "D", "A Jig") == "X:1\nT:A Jig\nM:6/8\nL:1/8\nK:D\nDFA d3 | c2B A3/2z3/2 |\n"


@pytest.mark.parametrize("key", ["C", "D", "G", "A", "E", "F", "Bb", "Eb", "F#", "B", "Ab"])
@pytest.mark.parametrize("tokens", [JIG, REEL, ODD])
def test_round_trip(tokens, key):
    assert list(abc_to_notes(notes_to_abc(tokens, key))) == tokens


@pytest.mark.parametrize("mode", ["major", "minor", "dorian", "mixolydian", "lydian", "phrygian", "locrian"])
def test_round_trip_of_all_semitones_in_all_modes(mode):
    """Twice over, so that each follows accidentals of its bar; and downwards, so that naturals are needed again."""
    up = [f"{pitch}_12" for pitch in range(-14, 25)]
    tokens = [f"mode:{mode}", "meter:4/4", *up, *up[::-1], "|", *up[::-1], "|"]
    for key in ("D", "G", "F"):
        assert list(abc_to_notes(notes_to_abc(tokens, key))) == tokens


def test_an_accidental_holds_for_its_bar_and_is_taken_back():
    tokens = _tokens("mode:major meter:4/4 4_24 3_24 4_24 4_24 | 4_96 |")
    assert body(notes_to_abc(tokens, "D")) == "F2 =F2 ^F2 ^F2 | F8 |"


@pytest.mark.parametrize(
    ("token", "written"),
    [("0_12", "C"), ("12_12", "c"), ("24_12", "c'"), ("-12_12", "C,"), ("-24_12", "C,,"), ("36_12", "c''")],
)
def test_octaves(token, written):
    assert body(notes_to_abc(["mode:major", token], "C")) == written


@pytest.mark.parametrize(
    ("duration", "written"), [(12, "C"), (6, "C/2"), (18, "C3/2"), (24, "C2"), (3, "C/4"), (9, "C3/4"), (8, "C2/3")]
)
def test_lengths(duration, written):
    assert body(notes_to_abc([f"0_{duration}"], "C")) == written


def test_three_equal_notes_in_the_time_of_two_are_a_triplet():
    assert body(notes_to_abc(["meter:2/4", "0_8", "2_8", "4_8", "5_24", "|"], "C")) == "(3CDE F2 |"
    assert body(notes_to_abc(["meter:2/4", "0_8", "2_8", "5_24", "|"], "C")) == "C2/3D2/3F2 |"


def test_lines_are_of_four_bars():
    tokens = ["mode:major", "meter:2/4", *["0_24", "0_24", "|"] * 9]
    assert [line.count("|") for line in body(notes_to_abc(tokens)).split("\n")] == [4, 4, 1]


def test_what_is_no_music_is_left_out():
    tokens = ["|", "mode:major", "[UNK]", "meter:6/8", "0_12", "x_3", "4_0", "99_12", "|", "|", "mode:minor", "7_12"]
    tokens += ["meter:0/8", "r_12", "<eos>"]
    assert list(abc_to_notes(notes_to_abc(tokens))) == ["mode:major", "meter:6/8", "0_12", "|", "7_12", "r_12"]


def test_a_tune_that_tells_neither_mode_nor_metre():
    assert notes_to_abc(["0_12"], "D", "x").splitlines()[2:] == ["M:none", "L:1/8", "K:D", "D"]
    assert notes_to_abc([], "D", "x").splitlines()[2:] == ["M:none", "L:1/8", "K:D"]


def test_a_title_stays_on_its_line():
    text = notes_to_abc(JIG, "D", "A title\nK:C")
    assert text.splitlines()[1] == "T:A title K:C"
    assert list(abc_to_notes(text)) == JIG


@pytest.mark.parametrize("key", ["H", "", "d", "Dmaj", "D##"])
def test_a_key_that_is_none(key, tmp_path):
    with pytest.raises(ParameterError, match=r"there is no key .*take a tonic such as D, G, Bb or F#"):
        notes_to_abc(JIG, key)
    with pytest.raises(ParameterError, match="there is no key"):
        notes_to_midi(JIG, key, tmp_path / "tune.mid")


def test_a_key_with_too_many_accidentals():
    with pytest.raises(ParameterError, match=r"'Cbmin'.*more than seven accidentals.*take another tonic"):
        notes_to_abc(["mode:minor", "0_12"], "Cb")


def test_text_that_is_no_abc():
    with pytest.raises(FormatError, match="no tune in ABC notation: "):
        abc_to_notes("X:1\nT:x\nno key here")


def played(path):
    """(pitch, start, end) of each note of a MIDI file, in quarter notes."""
    from mido import MidiFile

    file = MidiFile(path)
    notes, now, began = [], 0, {}
    for message in file.tracks[0]:
        now += message.time
        if message.type == "note_on":
            began[message.note] = now
        elif message.type == "note_off":
            notes.append((message.note, began.pop(message.note) / file.ticks_per_beat, now / file.ticks_per_beat))
    return notes, now / file.ticks_per_beat, file


def test_midi_by_hand(tmp_path):
    notes_to_midi(JIG, "D", tmp_path / "jig.mid")
    notes, end, file = played(tmp_path / "jig.mid")
    assert notes == [
        (62, 0, 0.5),
        (66, 0.5, 1),
        (69, 1, 1.5),
        (74, 1.5, 3),
        (73, 3, 4),
        (71, 4, 4.5),
        (69, 4.5, 5.25),
    ]
    # The rest at the end counts.
    assert end == 6
    # 120 quarter notes a minute.
    assert file.length == pytest.approx(3)
    signature = next(message for message in file.tracks[0] if message.type == "time_signature")
    assert (signature.numerator, signature.denominator) == (6, 8)


@pytest.mark.parametrize("meter", ["C", "C|", "none", "9/8", "2/4"])
def test_midi_of_any_metre_is_the_same_bytes_again(meter, tmp_path):
    tokens = ["mode:major", f"meter:{meter}", "r_12", "0_12"]
    for name in ("one.mid", "two.mid"):
        notes_to_midi(tokens, "Bb", tmp_path / name)
    assert (tmp_path / "one.mid").read_bytes() == (tmp_path / "two.mid").read_bytes()
    assert played(tmp_path / "one.mid")[0] == [(70, 0.5, 1)]


@pytest.mark.parametrize("tokens", [JIG, REEL, ODD])
def test_tokens_as_networks_write_them_are_the_same_tune(tokens, tmp_path):
    """With the duration told where it changes."""
    written = durations_told_once(tokens)
    assert written != tokens
    assert notes_to_abc(written) == notes_to_abc(tokens)
    for name, form in (("one.mid", written), ("two.mid", tokens)):
        notes_to_midi(form, "G", tmp_path / name)
    assert (tmp_path / "one.mid").read_bytes() == (tmp_path / "two.mid").read_bytes()
