"""A bundle and its card say what goes in and out, and are held to it."""

import json

import pytest
import tiny_bundles
from pydantic import ValidationError

from unroll.files import sha256_of, write_json
from unroll.inference.bundle import load_bundle
from unroll.inference.card import Card


def test_reads_the_bundle_or_the_folder_that_holds_it(tmp_path):
    folder = tiny_bundles.digits(tmp_path / "mnist" / "bundle")
    direct, outer = load_bundle(folder), load_bundle(tmp_path / "mnist")
    assert direct == outer
    assert direct.card.task.domain == "digits"
    assert direct.model == folder / "model.onnx"
    assert direct.version == f"tiny-digits@{sha256_of(folder / 'model.onnx')[:12]}"


def test_provenance_beside_the_bundle_is_carried_along(tmp_path):
    folder = tiny_bundles.digits(tmp_path / "mnist" / "bundle")
    assert load_bundle(folder).provenance is None
    about = {"git_commit": "abc", "mlflow_run_id": "123", "model_sha256": load_bundle(folder).sha256}
    write_json(tmp_path / "mnist" / "provenance.json", about)
    assert load_bundle(folder).provenance == about
    write_json(tmp_path / "mnist" / "provenance.json", about | {"model_sha256": "that of another graph"})
    assert load_bundle(folder).provenance is None


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


def card_of(kind, folder, change=lambda card: None):
    content = json.loads((MAKERS[kind](folder) / "card.json").read_text())
    change(content)
    return Card.model_validate_json(json.dumps(content))


def drop(*path):
    def change(card):
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
def test_a_card_that_does_not_fit_its_task(tmp_path, kind, change, key):
    assert card_of(kind, tmp_path).task.topology == "many_to_one"
    with pytest.raises(ValidationError, match=f"(?s){key}"):
        card_of(kind, tmp_path, change)
