"""A bundle that is incomplete, altered, or of another format is refused, with what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_bundles

from unroll.errors import BundleError
from unroll.inference.bundle import load_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_bundles.digits(tmp_path / "bundle")


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes the card and gives it a valid checksum."""
    card = json.loads((folder / "card.json").read_text())
    change(card)
    (folder / "card.json").write_text(json.dumps(card))
    tiny_bundles.seal(folder)


@pytest.mark.parametrize("name", ["card.json", "model.onnx"])
def test_one_flipped_bit_is_found(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match=rf"{name} was altered: its SHA-256 is [0-9a-f]{{64}}, SHA256SUMS promises"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["card.json", "model.onnx", "SHA256SUMS"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        load_bundle(folder)


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="there is no bundle in"):
        load_bundle(tmp_path / "nothing")


@pytest.mark.parametrize("line", ["", "zz  card.json\n", f"{'0' * 64}  ../card.json\n", f"{'0' * 64}  /etc/passwd\n"])
def test_checksums_that_are_none(folder: Path, line: str) -> None:
    (folder / "SHA256SUMS").write_text(line)
    with pytest.raises(BundleError, match="SHA256SUMS"):
        load_bundle(folder)


def test_another_format_is_told_from_a_broken_card(folder: Path) -> None:
    rewrite(folder, lambda card: card.update(format=2))
    with pytest.raises(BundleError, match="has format 2; this unroll reads format 1"):
        load_bundle(folder)


def test_a_card_that_is_no_json(folder: Path) -> None:
    (folder / "card.json").write_text("{")
    tiny_bundles.seal(folder)
    with pytest.raises(BundleError, match=r"card\.json is no JSON"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card.update(colour="red"), "colour: Extra inputs"),
        (lambda card: card.pop("reader"), "reader: Field required"),
        (lambda card: card.update(reader="prices"), "needs reader digits"),
        (lambda card: card["outputs"].pop(), "needs an output 'probabilities'"),
        (lambda card: card.update(quantiles=[0.5]), "quantiles stand in the card of a return_quantiles model"),
        (lambda card: card["inputs"][0].update(name="images"), r"inputs are \['inputs'\], the card says \['images'\]"),
        (lambda card: card["inputs"][0].update(shape=["batch", "time", 32]), "28.*the card says uint8.*32"),
        (lambda card: card["outputs"][1].update(shape=["batch", 11]), "10.*the card says float32.*11"),
        (lambda card: card["outputs"][0].update(dtype="float32"), "output 'label' must be int64"),
    ],
)
def test_card_and_graph_must_agree(folder: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    rewrite(folder, change)
    with pytest.raises(BundleError, match=message):
        load_bundle(folder)


def test_a_graph_with_a_frozen_time_axis_is_refused(tmp_path: Path) -> None:
    folder = tiny_bundles.last_price(tmp_path / "bundle", window=3)
    frozen = tiny_bundles.prices_card("price", [tiny_bundles.tensor("price", "float32", ["batch"])], ["close"], 3)
    frozen["inputs"][0]["shape"] = ["batch", 3, 1]
    open_card = (folder / "card.json").read_text()
    node = tiny_bundles.helper.make_node("ReduceMax", ["inputs", "axes"], ["price"], keepdims=0)
    tiny_bundles.write(folder, frozen, [node], {"axes": tiny_bundles.np.array([1, 2])})
    load_bundle(folder)
    (folder / "card.json").write_text(open_card)
    tiny_bundles.seal(folder)
    with pytest.raises(BundleError, match=r"\['batch', 3, 1\].*the card says float32 \['batch', 'time', 1\]"):
        load_bundle(folder)


def test_bytes_that_are_no_graph(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"no graph at all")
    tiny_bundles.seal(folder)
    with pytest.raises(BundleError, match=r"model\.onnx cannot be loaded"):
        load_bundle(folder)


def test_provenance_that_is_no_json(folder: Path) -> None:
    (folder.parent / "provenance.json").write_text("git")
    with pytest.raises(BundleError, match=r"provenance\.json is no JSON"):
        load_bundle(folder)
