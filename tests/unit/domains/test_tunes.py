"""Tunes: ABC files, tokens, near-duplicates, and generated tunes."""

import numpy as np
import pytest
import symusic
import tiny_tables
from raw_files import read

from unroll.domains.tunes.config import TuneTask
from unroll.domains.tunes.dataset import SCHEMA
from unroll.domains.tunes.metrics import score_texts
from unroll.domains.tunes.notation import to_abc, to_score
from unroll.domains.tunes.plots import write_examples
from unroll.domains.tunes.samples import make_samples, near_duplicates, tokens_of
from unroll.errors import DataError, FormatError
from unroll.features.special_tokens import BOS, EOS, IGNORE_INDEX, PAD, UNK

FILE = """\
%abc
X:1
T:First
L:1/8
M:6/8
K:D major % two sharps
%%slurgraces 1
"_mf"|:d2A|\\
K:G
%%begintext justify
Faded, bagged

%%endtext
w:la la
G3:|
%%BeginPS
/deafbed
%%EndPS

Words about the tune.
X:2
K:Am
e4|]
"""


def test_a_row_is_a_tune(tmp_path):
    (tmp_path / "b.abc").write_text("X:7\nM:C\nK:C\nc")
    (tmp_path / "a.abc").write_bytes(FILE.replace("\n", "\r\n").encode())
    (tmp_path / "readme.txt").write_text("X:8\nK:C\nc")
    found = read("tunes", tmp_path)
    assert found.table.schema == SCHEMA
    assert found.table.to_pylist() == [
        {"row_id": 0, "split": None, "text": 'M:6/8\nK:D major\nL:1/8\n"_mf"|:d2A|\\\n[K:G]\nG3:|'},
        {"row_id": 1, "split": None, "text": "K:Am\ne4|]"},
        {"row_id": 2, "split": None, "text": "M:C\nK:C\nc"},
    ]
    assert found.sources == [{"path": tmp_path.name, "files": 2, "rows": 3}]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("T:no tune\nK:D\nd", "X:"),
        ("X:3\nK:D\n\nd", "X:3"),
        ("X:4\nM:C\nd", "X:4"),
        ("X:5\nK:C\nK:D\n|z|", "X:5"),
        ("X:6\nK:C\nc\n%%begintext\na bad cafe", "%%begintext without %%endtext"),
    ],
)
def test_a_file_without_a_whole_tune(tmp_path, content, named):
    (tmp_path / "a.abc").write_text(f"X:1\nK:C\nc\n\n{content}" if named != "X:" else content)
    with pytest.raises(FormatError, match=rf"a\.abc.*{named}"):
        read("tunes", tmp_path / "a.abc")


NOTES = "CDEFGABcdefgab"


def walk(seed, count=40):
    return np.random.default_rng(seed).integers(0, 12, count).tolist()


def abc(places, key="G", length="", up=0):
    return f"M:C\nK:{key}\n" + " ".join(NOTES[place + up] + length for place in places)


def table(texts):
    return tiny_tables.table("tunes", [{"text": text} for text in texts])


def section(**changes):
    return TuneTask(domain="tunes", kind="language_model", dataset="d", **changes)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("M:6/8\nK:A Minor\nL:1/16\nA", "M:6/8 K:AMinor L:1/16 A"),
        ("^f'2 __B,,/ =c3/2 d// z4 x", "^f'2 __B,,/ =c3/2 d// z4 x"),
        ("|:A|1B:|2c::d|]\n|e||\\\n|:f:|\n|:g", "|: A |1 B :|2 c :: d |] | e || |: f :| |: g"),
        ("[K: Dm]d [M:3/4] [1e [|]f", "[K:Dm] d [M:3/4] [1 e f"),
        ('"Am"(AB) .c !trill!d ue Hf', "A B c d e f"),
        ("(3ABc (3:2:2d2e a>b c<<d e-e ~g Ta", "(3 A B c (3:2:2 d2 e a > b c << d e - e ~ g T a"),
        ("{^ga}b [c2e2] [ce]3/2", "{^ga} b [c2e2] [ce]3/2"),
    ],
)
def test_tokens(text, tokens):
    assert tokens_of(text) == tokens.split()
    assert tokens_of("\n".join(tokens.split())) == tokens.split()


def test_tensors():
    texts = [abc(walk(seed, 20 + seed)) for seed in range(40)]
    texts[3] += " =B,,7"
    samples = make_samples(table(texts), section(max_tokens=60), "t")
    tensors, (fold,), vocabulary = samples.tensors, samples.folds, samples.vocabularies["tune"]
    long = np.zeros(40, bool)
    for row, text in enumerate(texts):
        tokens = tokens_of(text)
        ids, length = [*vocabulary.encode([" ".join(tokens)])[0], EOS][:60], tensors["lengths"][row]
        long[row] = len(tokens) > 59
        assert tensors["inputs"][row, :length].tolist() == [BOS, *ids[:-1]]
        assert tensors["targets"][row, :length].tolist() == ids
        assert (tensors["inputs"][row, length:] == PAD).all()
        assert (tensors["targets"][row, length:] == IGNORE_INDEX).all()
    counts = {part: int(long[getattr(fold, part)].sum()) for part in ("train", "valid", "test")}
    assert samples.notes["truncated"] == {part: {"over max_tokens": count} for part, count in counts.items() if count}
    assert long.any()
    assert tensors["targets"][3, tensors["lengths"][3] - 2] == UNK
    assert sorted([*fold.train, *fold.valid, *fold.test]) == list(range(40))


def test_a_tune_without_tokens():
    with pytest.raises(DataError, match="row 5"):
        make_samples(table([abc(walk(seed)) if seed != 5 else "?" for seed in range(20)]), section(), "t")


def test_near_duplicates():
    one, other = walk(1), walk(2)
    same = [abc(one), abc(one, key="C", up=2), abc(one, length="2"), abc([*one[:-5], 0, 9, 0, 9, 0])]
    tunes = [*same, abc([*one[:20], *other[20:]]), abc(other[::-1]), abc([*one[:8], *walk(3)[8:]]), "c", "d2"]
    assert near_duplicates([tokens_of(tune) for tune in tunes]).tolist() == [0, 0, 0, 0, 0, 1, 2, 3, 3]


def test_near_duplicates_are_in_one_split():
    texts = [abc(walk(place // 3), up=place % 3) for place in range(60)]
    (fold,) = make_samples(table(texts), section(splits={"valid_share": 0.2, "test_share": 0.2}), "t").folds
    parts = [{row // 3 for row in part} for part in (fold.train, fold.valid, fold.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 20


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
