"""Texts into tokens and back."""

import json
import random
import time
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


def fit(kind, texts=TEXTS, **settings):
    return Vocabulary.fit(texts, TokenizerConfig(kind=kind, **settings))


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_come_first(kind):
    vocabulary = fit(kind)
    assert tuple(vocabulary.tokens[:6]) == SPECIAL_TOKENS == ("[PAD]", "[UNK]", "[NUM]", "[URL]", "<bos>", "<eos>")
    assert (PAD, UNK, NUM, URL, BOS, EOS) == (0, 1, 2, 3, 4, 5)
    assert vocabulary.size == len(vocabulary.tokens) == len(set(vocabulary.tokens))


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_give_the_text_back(text):
    vocabulary = fit("bpe")
    (ids,) = vocabulary.encode([text])
    assert UNK not in ids
    assert vocabulary.decode(ids) == text


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_smaller_than_words_give_the_text_back(text):
    vocabulary = fit("bpe", vocabulary_size=120)
    (ids,) = vocabulary.encode([text])
    assert vocabulary.decode(ids) == text
    assert len(ids) > len(text.split())


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_between_blanks_give_the_text_back_but_for_its_blanks(text):
    vocabulary = fit("split")
    (ids,) = vocabulary.encode([text])
    assert vocabulary.decode(ids) == " ".join(text.split())
    assert vocabulary.tokens_of(ids) == text.split()


@pytest.mark.parametrize(
    "text",
    [
        "How are you? I'm fine, thanks!",
        'She said "no" (twice), then left: "don\'t ask..."',
        "A well-known film's end, at 3.5 and 1,000 dollars; yes!",
        "J'ai vu l’été d'aujourd'hui.",
        "Mr O'Neil, didn’t; I'd SAY'LL",
        "either/or [maybe] — $5",
        "नमस्ते दुनिया। आप कैसे हैं?",
        "''Conan'' and that he's",
    ],
)
def test_words_are_joined_as_one_writes_them(text):
    vocabulary = fit("word", [text])
    (ids,) = vocabulary.encode([text])
    assert vocabulary.decode(ids) == text


def test_how_words_are_cut():
    text = "The film's 3.5 stars... ''well'', don't! हिन्दी co-star"
    vocabulary = fit("word", [text])
    assert vocabulary.tokens_of(vocabulary.encode([text])[0]) == [
        *(
            "The",
            "film",
            "'s",
            "3.5",
            "stars",
            "...",
            "''",
            "well",
            "''",
            ",",
            "don",
            "'t",
            "!",
            "हिन्दी",
            "co",
            "-",
            "star",
        )
    ]


def test_an_apostrophe_goes_with_what_it_shortens():
    vocabulary = fit("word", ["L'été d’hier qu'on they've isn't été hier on"])
    shown = vocabulary.tokens_of(vocabulary.encode(["L'été d’hier qu'on they've isn't"])[0])
    assert shown == ["L'", "été", "d’", "hier", "qu'", "on", "they", "'ve", "isn", "'t"]


def test_pieces_show_the_blank_before_them():
    vocabulary = fit("bpe", ["to be or not to be"] * 9, vocabulary_size=100)
    (ids,) = vocabulary.encode(["to be"])
    assert vocabulary.tokens_of(ids) == ["▁to", "▁be"]


@pytest.mark.parametrize("kind", KINDS)
def test_one_letter_in_two_unicode_forms_is_one_token(kind):
    vocabulary = fit(kind, ["l' été café"])
    composed, apart = vocabulary.encode(["été café", unicodedata.normalize("NFD", "été café")])
    assert composed == apart
    assert vocabulary.decode(apart) == "été café"


@pytest.mark.parametrize("kind", KINDS)
def test_lower_case_where_wanted(kind):
    vocabulary = fit(kind, ["Élan VITAL"], lowercase=True)
    one, other = vocabulary.encode(["élan vital", "ÉLAN Vital"])
    assert one == other
    assert UNK not in one
    kept = fit(kind, ["Élan VITAL"])
    assert kept.encode(["élan vital"]) != kept.encode(["Élan VITAL"])


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_text_that_looks_like_a_special_token_is_no_such_token(kind, lowercase):
    """Neither where it is met later, nor where the vocabulary was fitted on it."""
    text = "a <eos> b [PAD] c [NUM] d <BOS> e [URL] <bos>f[PAD]<eos> [UNK]"
    for vocabulary in (fit(kind, [text] * 50, lowercase=lowercase), fit(kind, lowercase=lowercase)):
        assert len(set(vocabulary.tokens)) == vocabulary.size
        (ids,) = vocabulary.encode([text])
        assert not {PAD, NUM, URL, BOS, EOS} & set(ids)
        # What stands behind is still read.
        assert len(ids) >= 10


def test_placeholders_are_no_special_tokens_either():
    vocabulary = fit("word", ["it cost [NUM] at [URL]"] * 3, placeholders=True)
    (ids,) = vocabulary.encode(["it cost [NUM] at [URL]"])
    assert not {NUM, URL} & set(ids)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("it cost 12.50 dollars", "it cost [NUM] dollars"),
        ("it cost 1,000,000 dollars", "it cost [NUM] dollars"),
        ("at http://a.org/b?c=1. it cost", "at [URL]. it cost"),
        ("at www.films.com, it cost", "at [URL], it cost"),
        ("at (https://a.org/12)", "at ([URL])"),
    ],
)
def test_numbers_and_addresses_where_wanted(text, shown):
    vocabulary = fit("word", ["it cost dollars at ( ) , . ", "8 www.a.org"], placeholders=True)
    assert vocabulary.decode(vocabulary.encode([text])[0]) == shown


def test_numbers_within_words_stay():
    vocabulary = fit("word", ["mp3 B2B 9"], placeholders=True)
    assert vocabulary.tokens_of(vocabulary.encode(["mp3 B2B 9"])[0]) == ["mp3", "B2B", "[NUM]"]


def test_a_corpus_own_mark_for_unknown_words_is_unknown():
    vocabulary = fit("split", ["the <unk> sat on <unk>"] * 3)
    assert "<unk>" not in vocabulary.tokens
    assert vocabulary.tokens_of(vocabulary.encode(["the <unk> sat"])[0]) == ["the", "[UNK]", "sat"]


@pytest.mark.parametrize("kind", ["word", "split"])
def test_the_most_frequent_words_stay(kind):
    texts = ["c c c", "a a", "b b", "d"]
    assert fit(kind, texts).tokens[6:] == ["c", "a", "b", "d"]
    assert fit(kind, [*texts, "e f g"], vocabulary_size=10).tokens[6:] == ["c", "a", "b", "d"]
    cut = fit(kind, texts, min_count=2)
    assert cut.tokens[6:] == ["c", "a", "b"]
    assert cut.encode(["d a"])[0] == [UNK, 7]


def test_pieces_keep_to_the_size_and_the_frequent_characters():
    vocabulary = fit("bpe", ["aaab aaab aab é"], vocabulary_size=12)
    assert vocabulary.size == 12
    rare = fit("bpe", ["aaab aaab aab é"], vocabulary_size=12, min_count=2)
    assert "é" not in rare.tokens
    assert rare.decode(rare.encode(["aab é b"])[0]) == "aab [UNK] b"


def test_an_alphabet_larger_than_the_vocabulary():
    text = "".join(chr(0x4E00 + i) * (2 if i < 4 else 1) for i in range(300))
    one, other = (fit("bpe", [text], vocabulary_size=11).tokens for _ in range(2))
    assert one == other
    assert set(one[6:]) == {" ", *(chr(0x4E00 + i) for i in range(4))}


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_without_tokens_has_none(kind):
    assert fit(kind).encode(["", "you"])[0] == []


def test_what_is_invisible_is_no_word():
    vocabulary = fit("word", ["fine \u200b\ufeff \u00ad"])
    assert vocabulary.tokens[6:] == ["fine"]
    assert vocabulary.encode(["\u200b \ufeff", "\u0000fine"]) == [[], [6]]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_to_learn_from(kind):
    with pytest.raises(DataError, match="no token that occurs 3 times"):
        fit(kind, ["a b"], min_count=3)


def test_decoding_ends_at_the_end():
    vocabulary = fit("split", ["one two three"])
    one, two = (vocabulary.tokens.index(word) for word in ("one", "two"))
    assert vocabulary.decode([BOS, one, PAD, two, EOS, one, IGNORE_INDEX]) == "one two"
    assert vocabulary.decode(np.array([two, IGNORE_INDEX, IGNORE_INDEX])) == "two"
    assert vocabulary.decode([]) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_gives_the_same_vocabulary(kind):
    vocabulary = fit(kind, lowercase=True, vocabulary_size=100)
    text = vocabulary.to_json()
    again = Vocabulary.from_json(text)
    assert again == vocabulary
    assert again.to_json() == text
    assert again.encode(TEXTS) == vocabulary.encode(TEXTS)
    assert [again.decode(ids) for ids in again.encode(TEXTS)] == [
        vocabulary.decode(i) for i in vocabulary.encode(TEXTS)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_equal_texts_give_equal_bytes_in_any_order(kind):
    texts = [f"{word} {TEXTS[place % 6]}" for place, word in enumerate("abcdefghij" * 20)]
    mixed = random.Random(3).sample(texts, len(texts))
    assert fit(kind, texts, vocabulary_size=150).to_json() == fit(kind, mixed, vocabulary_size=150).to_json()


def test_the_file_is_a_tokenizer_json():
    """Others' tools read it."""
    from tokenizers import Tokenizer as Plain

    vocabulary = fit("bpe")
    assert Plain.from_str(vocabulary.to_json()).encode(TEXTS[0]).ids == vocabulary.encode(TEXTS[:1])[0]


def swapped(content):
    words = content["model"]["vocab"]
    words["[PAD]"], words["[UNK]"] = words["[UNK]"], words["[PAD]"]


def lost(content):
    words = content["model"]["vocab"]
    del words[max(words, key=words.get)]
    words["new"] = 4711


def doubled(content):
    words = content["model"]["vocab"]
    last = max(words, key=words.get)
    words[last] -= 1


def lowered(content):
    content["normalizer"]["normalizers"].append({"type": "StripAccents"})


def with_a_found_token(content):
    found = {"id": 5, "content": "<eos>", "single_word": False, "lstrip": False, "rstrip": False}
    content["added_tokens"].append({**found, "normalized": False, "special": True})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alter", [swapped, lost, doubled, lowered, with_a_found_token])
def test_an_altered_file_is_refused(kind, alter):
    content = json.loads(fit(kind).to_json())
    alter(content)
    with pytest.raises(FormatError, match=r"words\.json"):
        Vocabulary.from_json(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "words.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"model": {}}', "\x00", "[[[["])
def test_what_is_no_vocabulary(text):
    with pytest.raises(FormatError, match="is no vocabulary"):
        Vocabulary.from_json(text)


def test_a_file_that_was_cut_short():
    text = fit("word").to_json()
    with pytest.raises(FormatError, match="is no vocabulary"):
        Vocabulary.from_json(text[: len(text) // 2])


def test_a_file_in_another_layout_was_touched_by_somebody():
    with pytest.raises(FormatError, match="was altered"):
        Vocabulary.from_json(json.dumps(json.loads(fit("word").to_json())))


def test_a_tokenizer_of_somebody_else():
    from tokenizers import Tokenizer as Plain
    from tokenizers.models import WordLevel

    with pytest.raises(FormatError, match="none that unroll wrote"):
        Vocabulary.from_json(Plain(WordLevel({"a": 0})).to_str())


def test_rows_are_padded_on_the_right():
    table, lengths = pad([[1, 2, 3], [], [4]])
    assert table.tolist() == [[1, 2, 3], [0, 0, 0], [4, 0, 0]]
    assert lengths.tolist() == [3, 0, 1]
    assert table.dtype == lengths.dtype == np.int64
    assert pad([[5], [6, 7]], IGNORE_INDEX)[0].tolist() == [[5, -100], [6, 7]]
    assert pad([])[0].shape == (0, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_many_sentences_take_little_time(kind):
    """A tenth of the rate that the benchmark asks for, so that a busy machine passes."""
    texts = [f"{TEXTS[place % 2]} {place % 97}" for place in range(10_000)]
    vocabulary = fit(kind, texts)
    begin = time.process_time()
    vocabulary.encode(texts)
    assert time.process_time() - begin < 4
