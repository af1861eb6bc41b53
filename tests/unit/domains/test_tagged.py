"""Tagged sentences: CoNLL files, tokens with characters and tags, metrics."""

import numpy as np
import pytest
import tiny_tables
from raw_files import SPLITS, read

from unroll.domains.tagged.dataset import SCHEMA
from unroll.domains.tagged.metrics import baselines, per_sample_loss, score
from unroll.domains.tagged.samples import make_samples
from unroll.errors import DataError, FormatError
from unroll.features.samples import Fold, Samples
from unroll.features.special_tokens import IGNORE_INDEX, PAD, UNK


def _read(folder, *files, ending="conll", **options):
    """The rows of train.conll, valid.conll, … with these contents."""
    paths = [folder / f"{split}.{ending}" for split in SPLITS[: len(files)]]
    for path, content in zip(paths, files, strict=True):
        path.write_text(content, encoding="utf-8")
    return read("tagged", *paths, **options)


def _tags(tags):
    return "\n".join(f"w{place} {tag}" for place, tag in enumerate(tags.split()))


def test_token_first_tag_last(tmp_path):
    ingested = _read(
        tmp_path,
        "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\n\nYork\tNNP\tB-LOC\n"
        "e\u0301te\u0301\tNN\tO\n-DOCSTART-\n# id = 7\n# O\n1 O",
    )
    assert ingested.table.schema == SCHEMA
    assert ingested.table.to_pylist() == [
        {"row_id": 0, "split": "train", "tokens": ["EU", "rejects"], "tags": ["B-ORG", "O"]},
        {"row_id": 1, "split": "train", "tokens": ["York", "été"], "tags": ["B-LOC", "O"]},
        {"row_id": 2, "split": "train", "tokens": ["#", "1"], "tags": ["O", "O"]},
    ]
    file = {"file": "train.conll", "rows": 3, "tokens": 6}
    assert ingested.sources == [{"path": "train.conll", "files": [file], "scheme": "IOB2"}]


@pytest.mark.parametrize(
    ("iob1", "iob2"),
    [
        ("I-PER I-PER O", "B-PER I-PER O"),
        ("O I-PER B-PER I-PER", "O B-PER B-PER I-PER"),
        # I-X after B-Y begins an entity.
        ("I-PER B-PER I-LOC I-LOC", "B-PER B-PER B-LOC I-LOC"),
        ("I-PER I-LOC O I-LOC", "B-PER B-LOC O B-LOC"),
    ],
)
def test_iob1_becomes_iob2_and_iob2_stays(tmp_path, iob1, iob2):
    for scheme, tags in (("IOB1", iob1), ("IOB2", iob2)):
        ingested = _read(tmp_path, _tags(tags))
        assert ingested.table.column("tags").to_pylist() == [iob2.split()]
        assert ingested.sources[0]["scheme"] == scheme


def test_scheme_is_inferred_from_all_files_together(tmp_path):
    ingested = _read(tmp_path, _tags("O O"), _tags("O I-PER"))
    assert [one["scheme"] for one in ingested.sources] == ["IOB1", "IOB1"]
    assert ingested.table.column("tags").to_pylist() == [["O", "O"], ["O", "B-PER"]]
    assert ingested.table.column("split").to_pylist() == ["train", "valid"]


@pytest.mark.parametrize("tags", ["O B-PER I-LOC", "O B-PER O I-PER", "B-PER B-LOC I-PER"])
def test_tags_of_neither_scheme(tmp_path, tags):
    with pytest.raises(FormatError, match="neither IOB1 nor IOB2"):
        _read(tmp_path, _tags(tags))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("EU B-ORG\nlonely\nx O", "line 2: too few columns, found 'lonely'"),
        ("EU B-ORG\nrejects VBZ NNP", "line 2: found the tag 'NNP' of 'rejects'"),
        ("Old O\nNew\u00a0York B-LOC", r"line 2: found the token 'New\\xa0York'"),
        ("Old\tO\nNew York\tB-LOC", "line 2: found the token 'New York'"),
        ("1 O\n2 B-LOC\n", "tokens are numbers alone.*`columns:"),
        ("1\tNew\tnew\tADJ\tJJ\t_\t0\troot\t_\t_\n", "line 1: which of 10 columns has the tags .* `columns:"),
        ("This is\na text\n", "which of 2 columns has the tags"),
        ("EU S-ORG\nrejects E-ORG", "line 2: E-ORG follows S-ORG"),
        ("EU B-ORG\nrejects VBZ B-", "line 2: found the tag 'B-'"),
        ("\n-DOCSTART- O\n", "has no tokens"),
    ],
)
def test_lines_that_cannot_be_read(tmp_path, content, message):
    with pytest.raises(FormatError, match=rf"train\.conll.*{message}"):
        _read(tmp_path, content)


TWO = [{"tokens": ["Ada", "Lovelace", "met"], "tags": ["B-PER", "I-PER", "O"]}, {"tokens": ["Bern"], "tags": ["B-LOC"]}]
GERMEVAL = "#\thttp://x [2010]\n1\tAda\tB-PER\tO\n2\tLovelace\tI-PER\tB-PER\n3\tmet\tO\tO\n\n1\tBern\tB-LOC\tO\n"
CONLLU = "# text = Ada\n1-2\tAda Lovelace\t_\t_\n1\tAda\t_\tPER\n2\tLovelace\t_\tPER\n3\tmet\t_\tO\n\n1\tBern\t_\tLOC\n"
KAGGLE = "Sentence #,Word,POS,Tag\nSentence: 1,Ada,NN,B-PER\n,Lovelace,NN,I-PER\n,met,V,O\nSentence: 2,Bern,NN,B-LOC\n"


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (GERMEVAL, {}),
        (GERMEVAL.replace("I-PER\tB-PER", "I-PER\tO"), {}),
        (CONLLU, {"columns": {"token": 1, "tag": 3}}),
        ("Ada B-PER\nLovelace E-PER\nmet O\n\nBern S-LOC", {}),
        ("Ada B-PER\nLovelace L-PER\nmet O\n\nBern U-LOC", {}),
        ("Ada PER\nLovelace PER\nmet O\n\nBern LOC", {}),
        ("B-PER Ada\nI-PER Lovelace\nO met\n\nB-LOC Bern", {"columns": {"token": 1, "tag": 0}}),
        (KAGGLE, {"ending": "csv"}),
        (KAGGLE.replace("Word", "Wort"), {"ending": "csv", "columns": {"token": "Wort", "tag": 3, "sentence": 0}}),
    ],
)
def test_columns_and_schemes(tmp_path, content, options):
    found = _read(tmp_path, content, **options).table.select(["tokens", "tags"])
    assert found.to_pylist() == TWO


def test_types_without_outside_are_of_single_tokens(tmp_path):
    found = _read(tmp_path, "the DET\nold ADJ\ngood ADJ\n")
    assert found.table["tags"].to_pylist() == [["B-DET", "B-ADJ", "B-ADJ"]]
    assert found.notes == ["tags were converted from token types to IOB2"]


SENTENCES = [
    (["Ada", "met", "Alan", "Turing", "."], ["B-PER", "O", "B-PER", "I-PER", "O"]),
    (["Paris", "sleeps"], ["B-LOC", "O"]),
    (["Zoë", "is", "in", "Paris"], ["B-PER", "O", "O", "B-LOC"]),
]


@pytest.fixture
def make(tiny):
    def make(sentences=SENTENCES, given=("train", "valid", "test"), **changes):
        rows = [
            {"split": split, "tokens": tokens, "tags": tags}
            for split, (tokens, tags) in zip(given, sentences, strict=True)
        ]
        table = tiny_tables.table("tagged", rows, first=100)
        return make_samples(table, tiny.section("tags", **{"characters": 4, **changes}), "t")

    return make


def test_equal_sentences_are_in_one_split_where_the_data_has_none(make):
    sentences = [(["To", f"w{number // 2}"], ["O", "B-LOC"]) for number in range(40)]
    samples = make(sentences, [None] * 40, splits={"valid_share": 0.1, "test_share": 0.2})
    (fold,) = samples.folds
    assert [len(part) for part in (fold.train, fold.valid, fold.test)] == [28, 4, 8]
    texts = [{*samples.tensors["text"][part]} for part in (fold.train, fold.valid, fold.test)]
    assert sum(map(len, texts)) == len(set.union(*texts)) == 20


def test_tags_and_tokens_by_hand(make):
    samples = make(characters=0)
    tensors = samples.tensors
    assert samples.notes == {"tags": ["O", "B-LOC", "B-PER", "I-PER"], "truncated": {}}
    ignored = IGNORE_INDEX
    assert tensors["targets"].tolist() == [[2, 0, 2, 3, 0], [1, 0, ignored, ignored, ignored], [2, 0, 0, 1, ignored]]
    assert tensors["lengths"].tolist() == [5, 2, 4]
    assert tensors["inputs"].shape == (3, 5, 1)
    assert samples.vocabularies["token"].tokens_of(tensors["inputs"][0, :, 0]) == SENTENCES[0][0]
    assert tensors["inputs"][1, :, 0].tolist() == [UNK, UNK, PAD, PAD, PAD]
    assert tensors["text"][2] == "Zoë is in Paris"
    assert tensors["tags"][1] == "B-LOC O"


def test_the_first_characters_of_a_token_follow_it(make):
    samples = make()
    inputs, characters = samples.tensors["inputs"], samples.vocabularies["character"]
    assert inputs.shape == (3, 5, 5)
    spelled = [[characters.tokens[i] for i in row[1:] if i != PAD] for row in inputs[0]]
    assert spelled == [["A", "d", "a"], ["m", "e", "t"], ["A", "l", "a", "n"], ["T", "u", "r", "i"], ["."]]
    np.testing.assert_array_equal(inputs[:, :, :1], make(characters=0).tensors["inputs"])
    assert not inputs[1, 2:].any()
    # Fitted on training alone, where neither s nor ë occurs.
    assert "s" not in characters.tokens
    assert inputs[2, 0, 1:].tolist() == [UNK, UNK, UNK, PAD]
    wide = make(characters=30).tensors["inputs"]
    assert (wide[0, 3, 1:7] != PAD).all()
    assert not wide[:, :, 7:].any()


def test_tokens_that_look_special_are_unknown(make):
    odd = [(["<eos>", "[PAD]", "ok"], ["O", "O", "O"]), SENTENCES[1], SENTENCES[2]]
    samples = make(odd)
    assert samples.tensors["inputs"][0, :2, 0].tolist() == [UNK, UNK]
    assert samples.tensors["lengths"][0] == 3
    assert samples.vocabularies["character"].tokens_of(samples.tensors["inputs"][0, 0, 1:]) == ["<", "e", "o", "s"]


def test_a_long_sentence_is_truncated_with_its_tags(make):
    samples = make(max_tokens=3)
    assert samples.notes["truncated"] == {part: {"over max_tokens": 1} for part in ("train", "test")}
    assert samples.tensors["targets"].tolist() == [[2, 0, 2], [1, 0, IGNORE_INDEX], [2, 0, 0]]
    assert samples.tensors["lengths"].tolist() == [3, 2, 3]
    with pytest.raises(DataError, match="row 100 has 5 tokens"):
        make(max_tokens=4, truncation=False)


@pytest.mark.parametrize(
    ("tokens", "tags"), [([], []), (["a", "b"], ["O"]), (["a"], ["O", "O"]), (["a b"], ["O"])], ids=str
)
def test_each_token_needs_a_tag(make, tokens, tags):
    with pytest.raises(DataError, match="row 101"):
        make([SENTENCES[0], (tokens, tags), SENTENCES[2]])


TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def _rows(*targets):
    tags = [" ".join(TAGS[tag] for tag in row if tag != IGNORE_INDEX) for row in targets]
    return {"targets": np.array(targets), "tags": np.array(tags, object)}


def test_score_by_hand():
    rows = _rows([1, 2, 0, 3, IGNORE_INDEX], [1, 0, 3, 4, 0])
    labels = np.array([[1, 2, 0, 0, 4], [1, 2, 3, 4, 0]])
    found = score(labels, rows, TAGS)
    # True: PER LOC, PER LOC. Found: PER, PER (too long), LOC. Two are right.
    assert found["entity_precision"] == pytest.approx(2 / 3)
    assert found["entity_recall"] == pytest.approx(2 / 4)
    assert found["entity_f1"] == pytest.approx(4 / 7)
    assert found["token_accuracy"] == pytest.approx(7 / 9)
    assert found["by_type"] == {
        "LOC": {"entity_f1": pytest.approx(2 / 3), "entities": 2},
        "PER": {"entity_f1": pytest.approx(1 / 2), "entities": 2},
    }
    assert per_sample_loss(labels, rows) == pytest.approx([1 / 4, 1 / 5])
    assert score(np.eye(5, dtype=np.float32)[labels], rows, TAGS) == found


def test_score_without_entities():
    nothing = np.zeros((1, 3), np.int64)
    missed = score(nothing, _rows([1, 2, 0]), TAGS)
    assert (missed["entity_f1"], missed["token_accuracy"]) == (0, pytest.approx(1 / 3))
    empty = score(nothing, _rows([0, 0, 0]), TAGS)
    assert (empty["entity_f1"], empty["entities"], empty["token_accuracy"], empty["by_type"]) == (0, 0, 1, {})


def test_entities_beyond_the_limit_are_missed():
    rows = _rows([1, 2], [3, 0]) | {"tags": np.array(["B-PER I-PER I-PER O B-LOC", "B-LOC O"], object)}
    found = score(rows["targets"], rows, TAGS)
    # The person is cut in two, the first place is not read, the second one is right.
    assert (found["entities"], found["entity_recall"], found["entity_precision"]) == (3, 1 / 3, 1 / 2)
    assert found["token_accuracy"] == 4 / 7
    assert per_sample_loss(rows["targets"], rows) == pytest.approx([3 / 5, 0])


@pytest.mark.parametrize("characters", [0, 2])
def test_the_baseline_is_the_most_frequent_tag_of_each_token(characters):
    anna, lives, york, new = 6, 7, 8, 9
    tokens = np.array([[anna, lives, york, new], [anna, lives, new, york], [anna, lives, UNK, 0]])
    targets = np.array([[1, 0, 3, 0], [1, 0, 3, 4], [1, 0, 3, IGNORE_INDEX]])
    inputs = np.zeros((*tokens.shape, 1 + characters), np.int64)
    inputs[:, :, 0] = tokens
    fold = Fold("all", np.array([0, 1]), np.array([1]), np.array([2]))
    found = baselines(Samples({"inputs": inputs, "targets": targets}, (fold,)))["most_frequent_tag"]
    # An unknown token gets the most frequent tag of all.
    assert found.tolist() == [[1, 0, 0, 0]]
