"""Generated tunes as ABC and MIDI."""

import symusic

from unroll.domains.tunes.metrics import score_texts
from unroll.domains.tunes.notation import to_abc, to_score
from unroll.domains.tunes.plots import write_examples

TUNE = "M:6/8 K:G L:1/8 |: G A B c2 d | (3 e f g [K:D] {a} [df]3 :|"
REPAIRED = "M:6/8 K:G L:1/8 |: G A B > > c3 |"


def test_an_abc_file():
    expected = "X:1\nT:One\nM:6/8\nL:1/8\nK:G\n|: GABc2d | (3efg[K:D]{a}[df]3 :|\n"
    assert to_abc(f"{TUNE} [UNK]", "One") == expected


def test_notes_as_they_sound():
    score, errors = to_score(to_abc("M:2/4 K:D L:1/8 f2 c =c | D4 |", "One"))
    assert not errors
    eighth = score.ticks_per_quarter // 2
    notes = [(note.pitch, note.start // eighth) for note in score.tracks[0].notes]
    assert notes == [(78, 0), (73, 2), (72, 3), (62, 4)]
    assert [(sign.numerator, sign.denominator) for sign in score.time_signatures] == [(2, 4)]


def test_what_does_not_parse():
    bad = ["", "M:6/8 K:G L:1/8 z |", "G A B", "M:C K:C c''''''"]
    assert score_texts([TUNE, REPAIRED, *bad]) == {"tunes": 6, "parses": 2 / 6, "without_errors": 1 / 6}


def test_examples(tmp_path):
    write_examples(tmp_path, [TUNE, "M:6/8 G A B"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tune-1.abc", "tune-1.mid", "tune-2.abc"]
    assert (tmp_path / "tune-1.abc").read_text() == to_abc(TUNE, "Generated tune 1")
    assert len(symusic.Score(tmp_path / "tune-1.mid").tracks[0].notes) > 8
