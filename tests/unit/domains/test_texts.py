"""Texts with a class or a rating: files, splits, soft labels, metrics."""

import gzip
import math
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_tables
from raw_files import read

from unroll.domains.texts.dataset import SCHEMA
from unroll.domains.texts.metrics import baselines, middle_of, per_sample_loss, score
from unroll.domains.texts.samples import make_samples, rating_classes, soft_labels
from unroll.errors import DataError, FormatError
from unroll.features.groups import normalized
from unroll.features.samples import Fold, Samples
from unroll.features.special_tokens import PAD, UNK
from unroll.metrics.classification import word_pattern

DECLARED = ("good", "bad")
ARRAY = '[{"text": "A fine, short film", "label": "good"},\n {"label": "bad", "text": "Nothing"}]'
FILES = {
    "own.csv": 'label,id,text\r\ngood,1,"A fine, short film"\r\nbad,2,Nothing\r\n',
    "semicolons.csv": "text;label\nA fine, short film;good\n\nNothing;bad\n",
    "own.tsv": "text\tlabel\nA fine, short film\tgood\nNothing\tbad",
    "own.json": ARRAY,
    "own.jsonl": '{"text": "A fine, short film", "label": "good"}\n\n{"label": "bad", "text": " Nothing "}\n',
}


def _read(folder, content="", name="own.csv", **options):
    """The rows of a file, or of all files that are in the folder."""
    path = folder / name if content else folder
    if content:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read("texts", path, **options)


def _column(ingested, name):
    return ingested.table.column(name).to_pylist()


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_rows(tmp_path, name):
    found = _read(tmp_path, FILES[name], name, labels=DECLARED)
    assert found.table.schema == SCHEMA
    assert _column(found, "row_id") == [0, 1]
    assert _column(found, "text") == ["A fine, short film", "Nothing"]
    assert _column(found, "label") == ["good", "bad"]
    assert _column(found, "rating") == [None, None]
    assert found.sources == [{"path": name, "files": [{"file": name, "rows": 2}]}]


def test_parquet_and_its_types_of_labels(tmp_path):
    for labels, declared in (([True, False], ("true", "false")), ([1.0, 0.0], ("1", "0")), ([4, 0], ("4", "0"))):
        pq.write_table(pa.table({"text": ["yes", "no"], "label": labels}), tmp_path / "own.parquet")
        found = _read(tmp_path, labels=declared)
        assert (_column(found, "text"), _column(found, "label")) == (["yes", "no"], list(declared))


def test_booleans_of_json_are_labels(tmp_path):
    content = '{"text": "a", "label": true}\n{"text": "b", "label": false}'
    for declared in (("true", "false"), ("True", "False")):
        assert _column(_read(tmp_path, content, labels=declared), "label") == list(declared)


def test_an_encoding_holds_for_files_that_are_not_utf8(tmp_path):
    for content in ("text,label\ncafé,good\n".encode("latin-1"), "text,label\ncafé,good\n".encode()):
        assert _column(_read(tmp_path, content, labels=DECLARED, encoding="latin-1"), "text") == ["café"]
    with pytest.raises(FormatError, match=r"0xe9 .* line 2; .*`encoding`"):
        _read(tmp_path, "text,label\ncafé,good\n".encode("latin-1"), labels=DECLARED)


def test_columns_without_a_header_have_names(tmp_path):
    content = '"4","1","no","x","first text"\n"0","2","no","x","second"\n'
    names = ["label", "id", "query", "user", "text"]
    found = _read(tmp_path, content, labels=["0", "4"], column_names=names)
    assert (_column(found, "label"), _column(found, "text")) == (["4", "0"], ["first text", "second"])


def test_labels_are_numbers_where_none_are_declared(tmp_path):
    content = gzip.compress(b"id,sentiment,text\n1,2.5,e\xcc\x81t\xc3\xa9\n2,-3,no\n")
    found = _read(tmp_path, content, label_column="sentiment")
    assert _column(found, "rating") == [2.5, -3.0]
    assert _column(found, "label") == [None, None]
    assert _column(found, "text") == ["été", "no"]


def test_files_of_a_folder_are_one_table(tmp_path):
    (tmp_path / "a.csv").write_text('text,label\n"one\nor two",good\n')
    (tmp_path / "b.jsonl").write_text('{"text": "three", "label": "bad"}')
    found = _read(tmp_path, labels=DECLARED)
    assert _column(found, "text") == ["one\nor two", "three"]
    assert [one["file"] for one in found.sources[0]["files"]] == ["a.csv", "b.jsonl"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (" ", "is empty"),
        ("Text,label\na,good\n", "missing column text; found Text, label"),
        ("text,label\nA fine, short film,good\n", "line 2: 3 cells, expected 2"),
        ('text,label\n"two\nlines",good\nfine,godo\n', "line 4, label: found 'godo', expected one of good, bad"),
        ("text,label\n1,good\n2.5,bad\n", "the column text has numbers alone.*`text_column`"),
        ('[{"text": "a", "label": "good"}, 3]', "object 2: found 3, expected a JSON object"),
        ("text,label\nfine,good\n\u200b\u00a0,bad\n", "line 3, text: the text is empty"),
        ('{"text": "a", "label": "good"}\n{"text": \n', "line 2: not valid JSON"),
        ('{"text": "a", "label": "good"}\n{"text": "b"}\n', "line 2: missing column label; found text"),
    ],
)
def test_rows_that_cannot_be_read(tmp_path, content, message):
    with pytest.raises(FormatError, match=rf"own\.csv.*{message}"):
        _read(tmp_path, content, labels=DECLARED)


@pytest.mark.parametrize("cell", ['""', '"nan"', "true"])
def test_ratings_are_finite_numbers(tmp_path, cell):
    content = f'{{"text": "a", "label": {cell}}}' if cell == "true" else f"text,label\nbad,{cell}\n"
    with pytest.raises(FormatError, match=r"line \d, label: found .*, expected a finite number"):
        _read(tmp_path, content)


THREE = {"classes": ["bad", "so", "good"], "thresholds": [-1, 1]}
TEXTS = [f"film number{place} was {'fine' if place % 3 else 'dull'}!" for place in range(60)]
LABELS = ["good" if place % 3 else "bad" for place in range(60)]


@pytest.fixture
def make(tiny):
    def make(texts=TEXTS, labels=None, ratings=None, given=None, **changes):
        count = len(texts)
        if labels is None and ratings is None:
            labels = LABELS if count == len(LABELS) else ["good"] * count
        columns = {"split": given, "text": texts, "label": labels, "rating": ratings}
        given_columns = {name: values for name, values in columns.items() if values}
        rows = [dict(zip(given_columns, row, strict=True)) for row in zip(*given_columns.values(), strict=True)]
        table = tiny_tables.table("texts", rows, first=100)
        settings = {"tokenizer": {"kind": "word", "vocabulary_size": 500}, "max_tokens": 20, **changes}
        return make_samples(table, tiny.section("text_class", **settings), "t")

    return make


def test_labels_and_padding_by_hand(make):
    samples = make()
    assert samples.tensors["label"][:4].tolist() == [0, 1, 1, 0]
    assert samples.tensors["targets"][:2].tolist() == [[1, 0], [0, 1]]
    row = samples.folds[0].train[0]
    ids = samples.tensors["inputs"][row, : samples.tensors["lengths"][row]]
    assert samples.vocabularies["text"].decode(ids) == samples.tensors["text"][row] == TEXTS[row]
    short = make([f"{text} w{place}" for place, text in enumerate(["one", "one two three", "one two"] * 10)]).tensors
    assert short["lengths"][:3].tolist() == [2, 4, 3]
    assert short["inputs"].shape == (30, 4)
    inside = np.arange(4) < short["lengths"][:, None]
    assert (short["inputs"][inside] != PAD).all()
    assert (short["inputs"][~inside] == PAD).all()


def test_nearly_equal_texts_are_in_one_split(make):
    texts = [f"{'A' if place % 2 else 'a'} film number{place // 4}{'!' if place % 3 else ' .'}" for place in range(200)]
    (fold,) = make(texts, splits={"valid_share": 0.2, "test_share": 0.2}).folds
    train, valid, test = ({normalized(texts[row]) for row in part} for part in (fold.train, fold.valid, fold.test))
    assert train.isdisjoint(valid | test)
    assert valid.isdisjoint(test)
    assert (len(fold.valid), len(fold.test)) == (40, 40)


def test_the_vocabulary_is_fitted_on_training_alone(make):
    samples = make()
    (fold,) = samples.folds
    tokens = set(samples.vocabularies["text"].tokens)
    assert {f"number{row}" for row in fold.train} <= tokens
    assert not {f"number{row}" for row in (*fold.valid, *fold.test)} & tokens
    assert ((samples.tensors["inputs"][fold.test] == UNK).sum(1) == 1).all()


def test_given_splits_are_kept_without_what_leaks(make):
    given = (["train"] * 7 + ["valid"] + ["test"] * 2) * 6
    samples = make([TEXTS[9].upper(), *TEXTS[1:]], given=given)
    (fold,) = samples.folds
    assert fold.test.tolist() == [row for row in range(60) if given[row] == "test"]
    assert fold.train.tolist() == [row for row in range(60) if given[row] == "train" and row != 0]
    assert samples.notes == {"truncated": {}, "left_out": {"train": {"in another split too": 1}}}


@pytest.mark.parametrize(
    ("thresholds", "ratings", "classes"),
    [
        ([-1, 1], [-4, -1.01, -1, 0, 1, 1.01, 4], [0, 0, 1, 1, 1, 2, 2]),
        ([0], [-0.1, 0, 0.1], [0, 1, 1]),
        ([1, 2, 3, 4], [1, 2, 3, 4, 0.5, 4.5], [1, 2, 2, 3, 0, 4]),
    ],
)
def test_classes_of_ratings(thresholds, ratings, classes):
    assert rating_classes(np.array(ratings, float), thresholds).tolist() == classes


def test_soft_labels_by_hand():
    """Standard normal: Φ(1) = 0.8413, Φ(2) = 0.9772."""
    found = soft_labels(np.array([0.0, 1.0, -3.0]), [-1, 1], 1.0)
    expected = [[0.1587, 0.6827, 0.1587], [0.0228, 0.4772, 0.5], [0.9772, 0.0227, 0.0]]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    half = soft_labels(np.array([0.5]), [-1, 1], 0.5)
    np.testing.assert_allclose(half, [[0.00135, 0.8413 - 0.00135, 0.1587]], atol=1e-4)
    assert soft_labels(np.array([-1.0, 1.5]), [-1, 1], 0).tolist() == [[0, 1, 0], [0, 0, 1]]


def test_ratings_become_targets(make):
    tensors = make([f"film number{place}" for place in range(60)], ratings=[-3.0, -0.5, 2.5] * 20,
                   **THREE, rating_noise=0.7).tensors  # fmt: skip
    assert tensors["label"][:3].tolist() == [0, 1, 2]
    assert tensors["rating"][:3].tolist() == [-3, -0.5, 2.5]
    above = 1 - 0.5 * (1 + math.erf((1 + 0.5) / 0.7 / math.sqrt(2)))
    np.testing.assert_allclose(tensors["targets"][1, 2], above, rtol=1e-5)


def test_a_long_text_is_truncated_and_counted_or_refused(make):
    texts = [*TEXTS[:3], "long " * 30, "longer " * 20, *TEXTS[5:]]
    samples = make(texts)
    assert samples.notes["truncated"] in [{part: {"over max_tokens": 1}} for part in ("train", "valid", "test")]
    assert samples.tensors["inputs"].shape[1] == samples.tensors["lengths"].max() == 20
    # The baselines read the whole text.
    assert samples.tensors["text"][3] == texts[3]
    with pytest.raises(DataError, match="row 103 has 30 tokens, but max_tokens is 20"):
        make(texts, truncation=False)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"texts": [*TEXTS[:17], "\u200b ", *TEXTS[18:]]}, "row 117"),
        ({"labels": ["odd", *LABELS[1:]]}, "row 100 .*'odd'"),
        ({"labels": ["good", None, *LABELS[2:]]}, "row 101"),
        (THREE, "row 100 has no rating"),
    ],
    ids=["empty", "unknown class", "no label", "labels for ratings"],
)
def test_a_row_that_cannot_be_used_is_an_error(make, changes, where):
    with pytest.raises(DataError, match=rf"tasks\.t: .*{where}"):
        make(**changes)


def rated(*ratings):
    rating = np.array(ratings, np.float32)
    label = np.where(rating < -1, 0, np.where(rating > 1, 2, 1))
    return {"rating": rating, "label": label, "lengths": np.full(len(rating), 3)}


def test_accuracy_of_ratings_counts_classes_on_all_rows():
    rows = rated(-3, 0.5, 2, 0)
    prediction = np.array([[0.6, 0.3, 0.1], [0.2, 0.6, 0.2], [0.1, 0.6, 0.3], [0.9, 0.1, 0.0]], np.float32)
    found = score(prediction, rows, 3, 0.0)
    # Classes: right, right, wrong, wrong.
    assert (found["accuracy"], found["rows"]) == (0.5, 4)
    assert found["by_length"] == {"1-5": {"accuracy": 0.5, "rows": 4}}
    assert per_sample_loss(prediction, rows, 3).tolist() == [0, 0, 1, 1]
    # Sides: right, a tie (which is not above), right; the last one is on the middle and is not counted.
    assert (found["polarity_accuracy"], found["polarity_rows"]) == (pytest.approx(2 / 3), 3)
    labels = score(np.array([0, 2, 2, 1]), rated(-3, 0.5, 2, -0.5), 3, 0.0)
    assert (labels["accuracy"], labels["polarity_accuracy"]) == (0.75, 1)
    assert score(np.array([1, 0]), rated(0, 0), 3, 0.0)["polarity_rows"] == 0


def test_a_last_column_predicts_the_side_apart_from_the_class():
    prediction = np.array([[1, 0, 0, 0.9], [0, 1, 0, 0.7], [0, 0, 1, 0.2]], np.float32)
    found = score(prediction, rated(-3, 0.5, 2), 3, 0.0)
    assert found["accuracy"] == found["macro_f1"] == 1
    assert found["polarity_accuracy"] == pytest.approx(1 / 3)


def test_accuracy_of_labels_is_exact():
    rows = {"label": np.array([0, 1, 2, 2]), "lengths": np.array([1, 6, 7, 60])}
    found = score(np.array([0, 1, 1, 2]), rows, 3, None)
    assert found["accuracy"] == 0.75
    # F1: 1, 2·1/(2 + 1) and 2·1/(2 + 1).
    assert found["macro_f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert found["by_length"] == {
        "1-5": {"accuracy": 1.0, "rows": 1},
        "6-10": {"accuracy": 0.5, "rows": 2},
        "over 50": {"accuracy": 1.0, "rows": 1},
    }
    assert per_sample_loss(np.array([0, 1, 1, 2]), rows, 3).tolist() == [0, 0, 1, 0]


def test_the_middle_is_that_of_the_thresholds(tiny):
    stars = {"classes": ["low", "middle", "high"], "thresholds": [2, 4]}
    assert middle_of(tiny.section("text_class", **stars)) == 3
    assert middle_of(tiny.section("text_class")) is None


def samples(words, rating=None):
    """Texts whose first word is that of their class, which is class 0, 1, 2, 0 …"""
    label = np.arange(60) % 3
    text = np.array([f"{words[one]} number {place % 7}" for place, one in enumerate(label)], object)
    tensors = {"text": text, "label": label}
    if rating is not None:
        tensors["rating"] = np.array(rating, np.float32)[label]
    fold = Fold("all", np.arange(0, 36), np.arange(36, 42), np.arange(42, 60))
    return Samples(tensors, (fold,))


def test_baselines_have_a_class_and_a_side_of_the_middle():
    made = samples(("bad film", "so so", "good film"), rating=(-2, 0.5, 2))
    found = baselines(made, 3, 0.0)
    label = made.test_rows()["label"]
    assert found["tfidf_logistic_regression"][:, :3].argmax(1).tolist() == label.tolist()
    assert (found["tfidf_logistic_regression"][:, 3] > 0.5).tolist() == (label > 0).tolist()
    assert found["majority"].tolist() == [[1, 0, 0, 1]] * 18


def test_words_of_baselines_have_their_combining_marks():
    words = re.findall(word_pattern(), "हिन्दी में, e\u0301te\u0301 don't क्\u200dष")
    assert words == ["हिन्दी", "में", ",", "e\u0301te\u0301", "don", "'", "t", "क्\u200dष"]


def test_baselines_read_training_texts_alone_and_punctuation_too():
    made = samples(("!!!", "…", "?"))
    found = baselines(made, 3, None)["tfidf_logistic_regression"]
    assert found.argmax(1).tolist() == made.test_rows()["label"].tolist()
    text = made.tensors["text"].copy()
    text[made.folds[0].test] = "unheard words alone"
    found = baselines(Samples({**made.tensors, "text": text}, made.folds), 3, None)["tfidf_logistic_regression"]
    assert (found == found[0]).all()
