"""A card is checked against what its kind of task takes and gives."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_bundles
from pydantic import ValidationError

from unroll.inference.card import Card

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


def drop(*path: str) -> Callable[[dict[str, Any]], object]:
    def change(card: dict[str, Any]) -> None:
        for key in path[:-1]:
            card = card[key]
        del card[path[-1]]

    return change


@pytest.mark.parametrize(
    ("kind", "change", "key"),
    [
        ("digits", lambda card: card["task"].update(domain="melodies"), "'melodies'"),
        ("digits", lambda card: card["task"].update(domain="texts"), "texts classification"),
        ("price", drop("prices"), "prices"),
        ("text_class", drop("labels"), "labels"),
        ("text_class", drop("text", "max_tokens"), "text.max_tokens"),
        ("text_class", lambda card: card["inputs"][1].update(dtype="float32"), "'lengths', int64"),
        ("text_class", lambda card: card.update(decoding=tiny_bundles.DECODING), "decoding"),
        ("translation", drop("decoding"), "decoding"),
        ("translation", lambda card: card["inputs"].pop(), "length_penalty"),
        ("translation", lambda card: card.update(labels=["a"]), "labels"),
        ("recording_class", lambda card: card["array"].update(variable_length=False), "lengths"),
        ("strip_columns", lambda card: card["inputs"][0].update(dtype="float32"), "uint8"),
    ],
)
def test_a_card_that_does_not_fit_its_task(
    tmp_path: Path, kind: str, change: Callable[[dict[str, Any]], object], key: str
) -> None:
    assert card_of(kind, tmp_path).task.topology == "many_to_one"
    with pytest.raises(ValidationError, match=f"(?s){key}"):
        card_of(kind, tmp_path, change)
