"""A card is held to what its kind of task needs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_bundles
from pydantic import ValidationError

from unroll.inference.card import KINDS, Card, stated
from unroll.inference.columns import DECODERS
from unroll.inference.readers import READERS

MAKERS = {
    "digits": tiny_bundles.digits,
    "price": tiny_bundles.last_price,
    "return_quantiles": tiny_bundles.quantiles,
    "text_class": tiny_bundles.classifier,
    "translation": tiny_bundles.translator,
    "language_model": tiny_bundles.writer,
    "tags": tiny_bundles.tagger,
    "recording_class": tiny_bundles.recordings,
    "strip_columns": tiny_bundles.strips,
}


def card_of(kind: str, folder: Path, change: Callable[[dict[str, Any]], object] = lambda card: None) -> Card:
    content = json.loads((MAKERS[kind](folder) / "card.json").read_text())
    change(content)
    return Card.model_validate_json(json.dumps(content))


def test_every_kind_has_a_reader_and_a_decoder() -> None:
    assert {kind.reader for kind in KINDS.values()} == set(READERS)
    assert {kind.answer for kind in KINDS.values()} == set(DECODERS)


@pytest.mark.parametrize("kind", MAKERS)
def test_the_card_of_every_kind_is_understood(tmp_path: Path, kind: str) -> None:
    assert card_of(kind, tmp_path).kind == KINDS[kind]


def drop(*path: str) -> Callable[[dict[str, Any]], object]:
    def change(card: dict[str, Any]) -> None:
        for key in path[:-1]:
            card = card[key]
        del card[path[-1]]

    return change


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("text_class", drop("text"), "reader text and the section text belong together"),
        ("text_class", drop("text", "max_tokens"), "text.max_tokens"),
        ("text_class", lambda card: card["text"].update(truncation="drop"), "truncation"),
        ("text_class", lambda card: card["text"].update(column="tokens"), "does not read the column tokens"),
        ("text_class", lambda card: card["text"].update(characters=3), "characters and character_vocabulary belong"),
        ("text_class", lambda card: card["inputs"].pop(), r"has the inputs \['inputs', 'lengths'\]"),
        ("text_class", lambda card: card["inputs"][1].update(dtype="float32"), "'lengths' must be int64 of rank 1"),
        ("text_class", lambda card: card["labels"].pop(), "2 labels do not name 3 probabilities"),
        ("text_class", lambda card: card.update(decoding=tiny_bundles.DECODING), "decoding stands in the card of a"),
        ("text_class", lambda card: card.update(output_vocabulary="x"), "output_vocabulary stands in the card of a"),
        (
            "text_class",
            lambda card: card.update(array={"column": "frames", "variable_length": True}),
            "reader arrays and the",
        ),
        ("translation", drop("decoding"), "decoding stands in the card of a model that writes text"),
        ("translation", drop("output_vocabulary"), "output_vocabulary stands in"),
        ("translation", lambda card: card["inputs"].pop(), "length_penalty.*the card has"),
        ("translation", lambda card: card["decoding"].update(beams=0), "decoding.beams"),
        ("translation", lambda card: card.update(labels=["a"]), "not in that of a translation model"),
        ("language_model", lambda card: card["inputs"].pop(), "uniforms"),
        ("tags", drop("labels"), "needs the names of its tags"),
        ("tags", lambda card: card["text"].update(characters=5), "a token and 5 characters do not fill an input"),
        ("tags", lambda card: card["text"].update(first_token=4), "first_token must be null"),
        ("recording_class", lambda card: card["array"].update(variable_length=False), r"has the inputs \['inputs'\]"),
        ("recording_class", lambda card: card["inputs"][0].update(shape=["a", "b", "c"]), "must be a number, not 'c'"),
        ("strip_columns", lambda card: card["inputs"][0].update(dtype="float32"), "must be uint8 of rank 3"),
        ("digits", lambda card: card["task"].update(kind="melody"), "a melody model needs reader text, not digits"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, kind: str, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    with pytest.raises(ValidationError, match=f"(?s){message}"):
        card_of(kind, tmp_path, change)


def test_tags_without_characters(tmp_path: Path) -> None:
    """Their numbers may then stand alone."""
    card = json.loads((tiny_bundles.tagger(tmp_path, characters=0) / "card.json").read_text())
    for shape in (["batch", "time", 1], ["batch", "time"]):
        card["inputs"][0]["shape"] = shape
        assert Card.model_validate_json(json.dumps(card)).entry.shape == tuple(shape)


def test_every_vocabulary_is_known(tmp_path: Path) -> None:
    assert card_of("tags", tmp_path / "tags").vocabularies == (tiny_bundles.BOOK, tiny_bundles.LETTERS)
    assert card_of("translation", tmp_path / "translation").vocabularies == (tiny_bundles.BOOK,)
    assert card_of("digits", tmp_path / "digits").vocabularies == ()


def test_a_part_of_another_kind_is_no_part() -> None:
    assert stated(5) == 5
    with pytest.raises(ValueError, match="another kind of model"):
        stated(None)
