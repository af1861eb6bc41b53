"""Texts to tokens and back."""

import json
import random
import unicodedata

import numpy as np
import pytest

from unroll.config.tokenizer import TokenizerConfig
from unroll.errors import DataError, FormatError
from unroll.features.special_tokens import BOS, EOS, IGNORE_INDEX, NUM, PAD, SPECIAL_TOKENS, UNK, URL
from unroll.features.text import Vocabulary, pad

TEXTS = [
    "How are you? I'm fine, thanks!",
    "Ça va très bien, merci ! C'est l’été où j'ai vu Zoë.",
    "नमस्ते दुनिया। आप कैसे हैं?",
    "👍🏽 okay 👩‍👩‍👧 — 3.5 % of (all) “things” …",
    "  two  blanks\tand a tab ",
    "日本語 の テスト、 はい。",
]
KINDS = ["word", "bpe", "split"]
every_kind = pytest.mark.parametrize("kind", KINDS)


def fit(kind, texts=TEXTS, **settings):
    return Vocabulary.fit(texts, TokenizerConfig(kind=kind, **settings))


@every_kind
def test_special_tokens_come_first(kind):
    vocabulary = fit(kind)
    assert tuple(vocabulary.tokens[:6]) == SPECIAL_TOKENS == ("[PAD]", "[UNK]", "[NUM]", "[URL]", "<bos>", "<eos>")
    assert (PAD, UNK, NUM, URL, BOS, EOS) == (0, 1, 2, 3, 4, 5)
    assert vocabulary.size == len(set(vocabulary.tokens))


def test_round_trips():
    plain = [" ".join(text.split()) for text in TEXTS]
    for size in (10_000, 120):
        pieces = fit("bpe", vocabulary_size=size)
        encoded = pieces.encode(TEXTS)
        assert UNK not in {token for ids in encoded for token in ids}
        assert [pieces.decode(ids) for ids in encoded] == plain
    tokens = fit("split")
    assert [tokens.tokens_of(ids) for ids in tokens.encode(TEXTS)] == [text.split() for text in TEXTS]
    assert [tokens.decode(ids) for ids in tokens.encode(TEXTS)] == plain


def test_words_and_punctuation_are_joined_as_they_are_written():
    for text in (
        "How are you? I'm fine, thanks!",
        'She said "no" (twice), then left: "don\'t ask..."',
        "A well-known film's end, at 3.5 and 1,000 dollars; yes!",
        "J'ai vu l’été d'aujourd'hui.",
        "Mr O'Neil, didn’t; I'd SAY'LL",
        "either/or [maybe] — $5",
        "नमस्ते दुनिया। आप कैसे हैं?",
        "''Conan'' and that he's",
    ):
        vocabulary = fit("word", [text])
        assert vocabulary.decode(vocabulary.encode([text])[0]) == text


def test_words_and_pieces_by_hand():
    for text, tokens in (
        ("The film's 3.5 stars... ''well'', don't!", "The film 's 3.5 stars ... '' well '' , don 't !"),
        ("हिन्दी co-star", "हिन्दी co - star"),
        ("L'été d’hier qu'on they've isn't", "L' été d’ hier qu' on they 've isn 't"),
    ):
        vocabulary = fit("word", [text])
        assert vocabulary.tokens_of(vocabulary.encode([text])[0]) == tokens.split()
    pieces = fit("bpe", ["to be or not to be"] * 9, vocabulary_size=100)
    assert pieces.tokens_of(pieces.encode(["to be"])[0]) == ["▁to", "▁be"]


@every_kind
def test_unicode_forms_and_case_are_normalized(kind):
    vocabulary = fit(kind, ["l' été café"])
    composed, decomposed = vocabulary.encode(["été café", unicodedata.normalize("NFD", "été café")])
    assert composed == decomposed
    # Zero-width spaces, soft hyphens and byte-order marks are dropped; all kinds of blanks are the same.
    assert vocabulary.encode(["\ufeff\u00a0é\u200bté \t ca\u00adfé\u3000"]) == [composed]
    lowered = fit(kind, ["Élan VITAL"], lowercase=True)
    one, other = lowered.encode(["élan vital", "ÉLAN Vital"])
    assert one == other
    assert UNK not in one
    kept = fit(kind, ["Élan VITAL"])
    assert kept.encode(["élan vital"]) != kept.encode(["Élan VITAL"])


@every_kind
@pytest.mark.parametrize("lowercase", [False, True])
def test_text_that_looks_like_a_special_token_is_ordinary_text(kind, lowercase):
    text = "a <eos> b [PAD] c [NUM] d <BOS> e [URL] <bos>f[PAD]<eos> [UNK]"
    for vocabulary in (fit(kind, [text] * 50, lowercase=lowercase), fit(kind, lowercase=lowercase)):
        assert len(set(vocabulary.tokens)) == vocabulary.size
        (ids,) = vocabulary.encode([text])
        assert not {PAD, NUM, URL, BOS, EOS} & set(ids)
        assert len(ids) >= 10


def test_placeholders_for_numbers_and_urls():
    vocabulary = fit("word", ["it cost dollars at ( ) , . mp3 B2B", "8 www.a.org [NUM] [URL]"], placeholders=True)
    for text, decoded in (
        ("it cost 12.50 dollars", "it cost [NUM] dollars"),
        ("it cost 1,000,000 dollars", "it cost [NUM] dollars"),
        ("at http://a.org/b?c=1. it cost", "at [URL]. it cost"),
        ("at (https://a.org/12), it", "at ([URL]), it"),
        ("mp3 B2B 9", "mp3 B2B [NUM]"),
    ):
        assert vocabulary.decode(vocabulary.encode([text])[0]) == decoded
    assert not {NUM, URL} & set(vocabulary.encode(["it cost [NUM] at [URL]"])[0])


def test_the_corpus_own_unknown_word_is_unknown():
    vocabulary = fit("split", ["the <unk> sat on <unk>"] * 3)
    assert vocabulary.tokens_of(vocabulary.encode(["the <unk> sat"])[0]) == ["the", "[UNK]", "sat"]


@pytest.mark.parametrize("kind", ["word", "split"])
def test_the_most_frequent_words_are_kept(kind):
    texts = ["c c c", "a a", "b b", "d"]
    assert fit(kind, texts).tokens[6:] == ["c", "a", "b", "d"]
    assert fit(kind, [*texts, "e f g"], vocabulary_size=10).tokens[6:] == ["c", "a", "b", "d"]
    cut = fit(kind, texts, min_count=2)
    assert cut.tokens[6:] == ["c", "a", "b"]
    assert cut.encode(["d a"])[0] == [UNK, 7]


def test_the_most_frequent_characters_are_kept():
    rare = fit("bpe", ["aaab aaab aab é"], vocabulary_size=12, min_count=2)
    assert rare.size <= 12
    assert rare.decode(rare.encode(["aab é b"])[0]) == "aab [UNK] b"
    text = "".join(chr(0x4E00 + i) * (2 if i < 4 else 1) for i in range(300))
    assert set(fit("bpe", [text], vocabulary_size=11).tokens[6:]) == {" ", *(chr(0x4E00 + i) for i in range(4))}


@every_kind
def test_texts_without_tokens(kind):
    assert fit(kind).encode(["", "you"])[0] == []
    with pytest.raises(DataError, match="3 times"):
        fit(kind, ["a b"], min_count=3)
    invisible = fit("word", ["fine \u200b\ufeff \u00ad"])
    assert invisible.encode(["\u200b \ufeff", "\u0000fine"]) == [[], [6]]


def test_decoding_ends_at_eos():
    vocabulary = fit("split", ["one two three"])
    one, two = (vocabulary.tokens.index(word) for word in ("one", "two"))
    assert vocabulary.decode([BOS, one, PAD, two, EOS, one, IGNORE_INDEX]) == "one two"
    assert vocabulary.decode(np.array([two, IGNORE_INDEX, IGNORE_INDEX])) == "two"


@every_kind
def test_the_file_gives_the_same_vocabulary(kind):
    from tokenizers import Tokenizer

    vocabulary = fit(kind, lowercase=True, vocabulary_size=100)
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again == vocabulary
    assert again.to_json() == vocabulary.to_json()
    assert again.encode(TEXTS) == vocabulary.encode(TEXTS)
    # The file is a tokenizer.json, which other tools read.
    assert Tokenizer.from_str(vocabulary.to_json()).encode(TEXTS[0]).ids == vocabulary.encode(TEXTS[:1])[0]


@every_kind
def test_equal_texts_give_equal_bytes_in_any_order(kind):
    texts = [f"{word} {TEXTS[place % 6]}" for place, word in enumerate("abcdefghij" * 20)]
    shuffled = random.Random(3).sample(texts, len(texts))
    assert fit(kind, texts, vocabulary_size=150).to_json() == fit(kind, shuffled, vocabulary_size=150).to_json()


def swapped(content):
    words = content["model"]["vocab"]
    words["[PAD]"], words["[UNK]"] = words["[UNK]"], words["[PAD]"]


def test_text_that_is_not_a_vocabulary():
    altered = json.loads(fit("word").to_json())
    swapped(altered)
    for text in ("", "[]", '{"model": {}}', fit("word").to_json()[:900], json.dumps(altered, indent=1) + "\n"):
        with pytest.raises(FormatError, match=r"words\.json"):
            Vocabulary.from_json(text, "words.json")


def test_rows_are_padded_on_the_right():
    table, lengths = pad([[1, 2, 3], [], [4]])
    assert table.tolist() == [[1, 2, 3], [0, 0, 0], [4, 0, 0]]
    assert lengths.tolist() == [3, 0, 1]
    assert table.dtype == np.int32
    assert lengths.dtype == np.int64
    assert pad([[5], [6, 7]], IGNORE_INDEX)[0].tolist() == [[5, -100], [6, 7]]
    assert pad([])[0].shape == (0, 0)
