"""Pairs of sentences: files, splits without leaks, scores and baselines."""

import numpy as np
import pytest
import tiny_tables
from raw_files import read

from unroll.config.tokenizer import TokenizerConfig
from unroll.domains.pairs.dataset import SCHEMA
from unroll.domains.pairs.metrics import baselines, per_sample_loss, score
from unroll.domains.pairs.samples import make_samples
from unroll.errors import DataError, FormatError, SplitError
from unroll.features.groups import normalized
from unroll.features.samples import Fold, Samples
from unroll.features.special_tokens import EOS, IGNORE_INDEX, PAD
from unroll.features.text import Vocabulary, pad


def _read(folder, options=(), **files):
    """The rows of files; a name is split and ending: `train_tsv`, `test_en`."""
    paths = [folder / name.replace("_", ".") for name in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.write_bytes(content.encode())
    return read("pairs", *paths, **dict(options))


def _pairs(ingested):
    return [(row["source"], row["target"]) for row in ingested.table.to_pylist()]


def test_tab_separated_pairs_with_further_columns(tmp_path):
    content = "Help!\tA\u0300 l'aide\u202f!\tCC-BY\r\n\r\nGo.\tVa\u00a0 !\tCC-BY\t7\r\n"
    ingested = _read(tmp_path, train_txt=content)
    assert ingested.table.schema == SCHEMA
    assert _pairs(ingested) == [("Help!", "À l'aide !"), ("Go.", "Va !")]
    assert ingested.sources == [
        {"path": "train.txt", "files": [{"file": "train.txt", "rows": 2, "columns": ["0", "1"]}]}
    ]


def test_two_parallel_files(tmp_path):
    ingested = _read(tmp_path, train_en="Hello.\n\nA line\u2028break\n", train_hi="नमस्ते।\n \nटूटी पंक्ति")
    assert _pairs(ingested) == [("Hello.", "नमस्ते।"), ("A line break", "टूटी पंक्ति")]
    assert [one["side"] for one in ingested.sources] == ["source", "target"]
    assert ingested.sources[1] == {"path": "train.hi", "side": "target", "rows": 2, "blank_lines": 1}


def test_several_sources_keep_their_splits(tmp_path):
    table = _read(tmp_path, train_en="a\nb", train_fr="c\nd", test_tsv="e\tf").table
    assert table.to_pylist() == [
        {"row_id": 0, "split": "train", "source": "a", "target": "c"},
        {"row_id": 1, "split": "train", "source": "b", "target": "d"},
        {"row_id": 2, "split": "test", "source": "e", "target": "f"},
    ]


@pytest.mark.parametrize(
    ("options", "files"),
    [
        ({}, {"train_tsv": "1\tGo.\t2\tVa !\n3\tRun!\t4\tCours !"}),
        ({}, {"train_tsv": "id\tenglish\tfrench\n1\tGo.\tVa !\n2\tRun!\tCours !"}),
        ({}, {"train_tsv": "Target\tSource\nVa !\tGo.\nCours !\tRun!"}),
        ({}, {"train_csv": "en,fr\nGo.,Va !\nRun!,Cours !"}),
        ({"columns": {"source": 3, "target": 1}}, {"train_tsv": "0\tVa !\t\tGo.\n1\tCours !\t\tRun!"}),
        ({"columns": {"source": "a", "target": "c"}}, {"train_tsv": "a\tb\tc\nGo.\tx\tVa !\nRun!\ty\tCours !"}),
        ({"header": True}, {"train_tsv": "this\tthat\nGo.\tVa !\nRun!\tCours !"}),
    ],
)
def test_columns_of_sentences(tmp_path, options, files):
    assert _pairs(_read(tmp_path, options, **files)) == [("Go.", "Va !"), ("Run!", "Cours !")]


def test_cells_in_quotes(tmp_path):
    content = 'source\ttarget\n"She said ""go""."\t"Elle a\tdit ""va""."\n'
    assert _pairs(_read(tmp_path, train_tsv=content)) == [('She said "go".', 'Elle a dit "va".')]


def test_pairs_with_an_empty_side_are_left_out_and_counted(tmp_path):
    lines = [f"line {place}" for place in range(40)]
    source, target = lines.copy(), lines.copy()
    source[3], target[8] = "", "\u00a0"
    found = _read(tmp_path, test_en="\n".join(source), test_hi="\n".join(target))
    assert _pairs(found) == [(line, line) for place, line in enumerate(lines) if place not in (3, 8)]
    assert found.changes["left_out"] == 2
    assert found.changes["left_out_first"][0] == "test.en and test.hi, line 4 of test: the source is empty"
    assert "2 of 40, first test.en" in found.notes[0]
    with pytest.raises(FormatError, match="more than max_bad_share 0"):
        _read(tmp_path, {"max_bad_share": 0}, test_en="\n".join(source), test_hi="\n".join(target))


def test_parallel_files_are_paired_by_split(tmp_path):
    found = _read(tmp_path, train_en="a", valid_en="b", test_en="c", train_fr="A", valid_fr="B", test_fr="C")
    assert [(row["split"], row["source"], row["target"]) for row in found.table.to_pylist()] == [
        ("train", "a", "A"),
        ("valid", "b", "B"),
        ("test", "c", "C"),
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train_en": "one\ntwo\nthree", "train_fr": "un\ndeux"}, r"train\.en has 3 lines, .*train\.fr 2"),
        ({"train_tsv": "Go.\tVa !\n\nHelp! À l'aide !"}, r"train\.tsv, line 3: 1 cells, expected 2"),
        ({"train_en": "one", "test_fr": "un"}, r"train\.en: its first line has no tab"),
        ({"train_en": "one", "test_en": "two", "train_fr": "un"}, r"test\.en: .* no other file of the same split"),
        (
            {"train_tsv": "a\tb\nGo.\t\u00a0\n\tc"},
            r"2 of 3 pairs .* max_bad_share .* line 2 of train: the target is empty",
        ),
        ({"train_tsv": "1\teng\tGo.\n2\teng\tRun!\n3\teng\tHi."}, r"train\.tsv: which columns .* set `columns"),
        ({"train_tsv": "7\tGo.\tVa !\tmore\n8\tRun!\tCours !\tmore too"}, r"train\.tsv: which columns .* `columns"),
    ],
)
def test_files_that_are_not_pairs(tmp_path, files, message):
    with pytest.raises(FormatError, match=message):
        _read(tmp_path, **files)


@pytest.fixture
def make(tiny):
    def make(pairs, given=None, **changes):
        splits = given or [None] * len(pairs)
        rows = [
            {"split": split, "source": source, "target": target}
            for split, (source, target) in zip(splits, pairs, strict=True)
        ]
        table = tiny_tables.table("pairs", rows, first=100)
        tokenizer = {"kind": "word", "vocabulary_size": 500}
        return make_samples(table, tiny.section("translation", **{"tokenizer": tokenizer, **changes}), "t")

    return make


def linked_pairs(count):
    """Sources with several targets, targets with several sources, in several spellings."""
    rng = np.random.default_rng(0)
    sources = [f"word{place} again" for place in range(count // 2)]
    targets = [f"mot{place} encore" for place in range(count // 2)]
    pairs = []
    for _ in range(count):
        source, target = sources[rng.integers(len(sources))], targets[rng.integers(len(targets))]
        pairs.append((source.title() + "!" if rng.random() < 0.3 else source, target + rng.choice(["", " !", " ?"])))
    return pairs


SHORT = [(f"go number{place} now", f"va le{place} tout de suite") for place in range(40)]


def test_no_side_of_a_test_pair_is_in_another_split(make):
    pairs = linked_pairs(90) + [(f"lone{place}", f"seul{place}") for place in range(200)]
    (fold,) = make(pairs, splits={"valid_share": 0.1, "test_share": 0.2}).folds
    assert sorted((*fold.train, *fold.valid, *fold.test)) == list(range(290))
    assert (len(fold.valid), len(fold.test)) == (29, 58)
    train, valid, test = (
        {normalized(side) for row in rows for side in pairs[row]} for rows in (fold.train, fold.valid, fold.test)
    )
    assert train.isdisjoint(valid | test)
    assert valid.isdisjoint(test)


def test_given_pairs_that_would_leak_are_left_out(make):
    pairs = [("something else", SHORT[39][1].upper() + " !"), *SHORT[1:]]
    samples = make(pairs, ["train"] * 30 + ["valid"] * 5 + ["test"] * 5)
    (fold,) = samples.folds
    assert fold.train.tolist() == list(range(1, 30))
    assert fold.test.tolist() == list(range(35, 40))
    assert samples.notes["left_out"] == {"train": {"in another split too": 1}}


def test_targets_end_and_are_ignored_from_there(make):
    pairs = [(f"s{place}" + " x" * (place % 4), f"t{place}" + " y" * (place % 3)) for place in range(60)]
    samples = make(pairs)
    tensors = samples.tensors
    for place in range(60):
        length, target_length = tensors["lengths"][place], tensors["target_lengths"][place]
        assert (length, target_length) == (1 + place % 4, 2 + place % 3)
        assert (tensors["inputs"][place, length:] == PAD).all()
        assert tensors["targets"][place, target_length - 1] == EOS
        assert (tensors["targets"][place, target_length:] == IGNORE_INDEX).all()
    row = samples.folds[0].train[0]
    assert samples.vocabularies["text"].decode(tensors["targets"][row]) == tensors["target"][row] == pairs[row][1]


@pytest.mark.parametrize("kind", ["bpe", "word"])
def test_one_vocabulary_for_both_sides_is_fitted_on_training_alone(make, kind):
    pairs = [(f"héllo {chr(0x4E00 + place)}", f"ça va {chr(0x5E00 + place)}") for place in range(60)]
    samples = make(pairs, tokenizer={"kind": kind, "vocabulary_size": 300})
    letters = "".join(samples.vocabularies["text"].tokens)
    (fold,) = samples.folds
    assert all(chr(0x4E00 + row) in letters and chr(0x5E00 + row) in letters for row in fold.train)
    assert not any(chr(0x4E00 + row) in letters or chr(0x5E00 + row) in letters for row in fold.test)


def test_long_pairs_are_left_out(make):
    pairs = [*SHORT, ("a b c d e f g h i", "court"), ("a", "b c d e f g h i j"), ("a b c d e f g h", "huit")]
    samples = make(pairs, max_words=8)
    assert samples.notes == {"truncated": {}, "left_out": {"all": {"over max_words": 2}}}
    assert samples.tensors["target"][40:].tolist() == ["huit"]
    with pytest.raises(SplitError, match=r"tasks\.t\.max_words"):
        make(SHORT, max_words=2)


def test_long_pairs_of_a_given_test_split_are_kept(make):
    pairs = [(f"{source} w w w w", target) if place in (2, 38) else (source, target)
             for place, (source, target) in enumerate(SHORT)]  # fmt: skip
    samples = make(pairs, ["train"] * 30 + ["valid"] * 5 + ["test"] * 5, max_words=6, max_tokens=6)
    assert len(samples.folds[0].test) == 5
    assert samples.notes == {
        "truncated": {"test": {"source over max_tokens": 1}},
        "left_out": {"train": {"over max_words": 1}},
    }


def test_long_sides_are_truncated_and_counted_by_split(make):
    samples = make(SHORT, max_tokens=2)
    (fold,) = samples.folds
    for part, reasons in samples.notes["truncated"].items():
        assert set(reasons) == {"source over max_tokens", "target over max_tokens"}
        assert max(reasons.values()) <= len(getattr(fold, part))
    assert sum(reasons["source over max_tokens"] for reasons in samples.notes["truncated"].values()) == 40
    assert set(samples.tensors["lengths"]) == {2}
    assert set(samples.tensors["target_lengths"]) == {3}
    assert (samples.tensors["targets"][:, 2] == EOS).all()


@pytest.mark.parametrize(
    ("pair", "where"),
    [
        (("a b c d e f", "x"), "source of row 141"),
        (("x", " "), "target of row 141"),
    ],
)
def test_an_empty_or_long_side_is_an_error_with_its_row(make, pair, where):
    """The row number is that of the data, also where pairs before it are left out."""
    with pytest.raises(DataError, match=rf"tasks\.t: the {where} "):
        make([("a b c d e f g h i", "x"), *SHORT, pair], max_words=8, max_tokens=5, truncation=False)


PAIRS = [
    ("I see the red house.", "Je vois la maison rouge."),
    ("I see the old dog.", "Je vois le vieux chien."),
    ("You like the small cat.", "Tu aimes le petit chat."),
    ("We eat bread.", "Nous mangeons du pain."),
    ("He drinks the cold water today.", "Il boit de l'eau froide aujourd'hui."),
    # Test pairs: each has one neighbor among the training pairs.
    ("I see the red dog house.", "Je vois la niche rouge."),
    ("We eat bread today, my friend.", "Nous mangeons du pain aujourd'hui."),
]
SOURCES, TARGETS = ([pair[side] for pair in PAIRS] for side in (0, 1))
VOCABULARY = Vocabulary.fit([*SOURCES, *TARGETS], TokenizerConfig(kind="bpe", vocabulary_size=200))


def samples():
    inputs, lengths = pad(VOCABULARY.encode(SOURCES))
    targets, _ = pad([[*ids, EOS] for ids in VOCABULARY.encode(TARGETS)], IGNORE_INDEX)
    tensors = {"inputs": inputs, "lengths": lengths, "targets": targets}
    tensors |= {"source": np.array(SOURCES, object), "target": np.array(TARGETS, object)}
    fold = Fold("all", np.arange(0, 4), np.array([4]), np.array([5, 6]))
    return Samples(tensors, (fold,), {"text": VOCABULARY})


def test_true_translations_score_100_whatever_follows_the_end():
    rows = samples().test_rows()
    right = np.where(rows["targets"] == IGNORE_INDEX, PAD, rows["targets"])
    found = score(right, rows, VOCABULARY)
    assert found["bleu"] == pytest.approx(100)
    assert found["chrf"] == pytest.approx(100)
    assert {name: one["rows"] for name, one in found["by_length"].items()} == {"6-7": 2}
    assert per_sample_loss(right, rows, VOCABULARY) == pytest.approx([0, 0])
    assert score(np.where(rows["targets"] == IGNORE_INDEX, 9, right), rows, VOCABULARY) == found


def test_scores_are_those_of_sacrebleu():
    from sacrebleu import corpus_bleu, corpus_chrf, sentence_chrf

    rows = samples().test_rows()
    texts, references = ["Je vois la maison rouge et verte.", "Nous mangeons."], list(rows["target"])
    prediction, _ = pad([[*ids, EOS] for ids in VOCABULARY.encode(texts)])
    found = score(prediction, rows, VOCABULARY)
    assert found["bleu"] == pytest.approx(corpus_bleu(texts, [references]).score)
    assert found["chrf"] == pytest.approx(corpus_chrf(texts, [references]).score)
    expected = [1 - sentence_chrf(one, [true]).score / 100 for one, true in zip(texts, references, strict=True)]
    assert per_sample_loss(prediction, rows, VOCABULARY) == pytest.approx(expected)
    nothing = np.full((2, 1), EOS)
    assert score(nothing, rows, VOCABULARY)["bleu"] == 0
    assert per_sample_loss(nothing, rows, VOCABULARY).tolist() == [1, 1]


def test_baselines_by_hand():
    found = baselines(samples())
    assert [VOCABULARY.decode(row) for row in found["copy"]] == [PAIRS[5][0], PAIRS[6][0]]
    assert [VOCABULARY.decode(row) for row in found["retrieval"]] == [PAIRS[0][1], PAIRS[3][1]]
