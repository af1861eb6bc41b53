"""Tunes as tokens; near-duplicates in one split."""

import numpy as np
import pyarrow as pa
import pytest

from unroll.domains.tunes.config import TuneTask
from unroll.domains.tunes.dataset import SCHEMA
from unroll.domains.tunes.samples import make_samples, near_duplicates, tokens_of
from unroll.errors import DataError
from unroll.features.special_tokens import BOS, EOS, IGNORE_INDEX, PAD, UNK

NOTES = "CDEFGABcdefgab"


def walk(seed, count=40):
    return np.random.default_rng(seed).integers(0, 12, count).tolist()


def abc(places, key="G", length="", up=0):
    return f"M:C\nK:{key}\n" + " ".join(NOTES[place + up] + length for place in places)


def table(texts):
    rows = [{"row_id": row, "split": None, "text": text} for row, text in enumerate(texts)]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


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
    cut = 0
    for row, text in enumerate(texts):
        tokens = tokens_of(text)
        ids, length = [*vocabulary.encode([" ".join(tokens)])[0], EOS][:60], tensors["lengths"][row]
        cut += len(tokens) > 59
        assert tensors["inputs"][row, :length].tolist() == [BOS, *ids[:-1]]
        assert tensors["targets"][row, :length].tolist() == ids
        assert (tensors["inputs"][row, length:] == PAD).all()
        assert (tensors["targets"][row, length:] == IGNORE_INDEX).all()
    assert samples.notes == {"cut": cut, "left_out": 0}
    assert cut > 0
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
