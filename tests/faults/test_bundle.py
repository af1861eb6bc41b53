"""A bundle that is incomplete, altered, or of another format is refused, with what is wrong."""

import json

import onnx
import pytest
import tiny_bundles

from unroll.errors import BundleError
from unroll.inference.bundle import load_bundle, open_session


@pytest.fixture
def folder(tmp_path):
    return tiny_bundles.digits(tmp_path / "bundle")


@pytest.fixture
def with_book(tmp_path):
    return tiny_bundles.classifier(tmp_path / "bundle")


def rewrite(folder, change):
    card = json.loads((folder / "card.json").read_text())
    change(card)
    (folder / "card.json").write_text(json.dumps(card))
    tiny_bundles.seal(folder)


@pytest.mark.parametrize("name", ["card.json", "model.onnx", tiny_bundles.BOOK])
def test_one_flipped_bit_is_found(with_book, name):
    content = bytearray((with_book / name).read_bytes())
    content[len(content) // 2] ^= 1
    (with_book / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name} was altered"):
        load_bundle(with_book)


@pytest.mark.parametrize("name", ["card.json", "model.onnx", tiny_bundles.BOOK, "SHA256SUMS"])
def test_a_missing_file_is_named(with_book, name):
    (with_book / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        load_bundle(with_book)


@pytest.mark.parametrize("line", ["", "zz  card.json\n", f"{'0' * 64}  ../card.json\n", f"{'0' * 64}  /etc/passwd\n"])
def test_checksums_that_are_none(folder, line):
    (folder / "SHA256SUMS").write_text(line)
    with pytest.raises(BundleError, match="SHA256SUMS"):
        load_bundle(folder)


def test_a_graph_that_is_too_new_for_onnxruntime(folder):
    """As the graphs of today are for an old onnxruntime."""
    graph = onnx.load(folder / "model.onnx")
    graph.ir_version = 99
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(BundleError, match=r"needs a newer onnxruntime than .* at least 1\.18"):
        open_session(load_bundle(tiny_bundles.seal(folder)))


def test_another_format_is_told_from_a_broken_card(folder):
    rewrite(folder, lambda card: card.update(format=2))
    with pytest.raises(BundleError, match="has format 2; this unroll reads format 1"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card.update(colour="red"), "colour: Extra inputs"),
        (lambda card: card["outputs"].pop(), "needs 'probabilities'"),
        (
            lambda card: card["inputs"][0].update(name="images"),
            r"has the inputs \['inputs'\]; the card has \['images'\]",
        ),
        (lambda card: card["outputs"][0].update(dtype="float32"), "needs 'label', int64 of rank 1"),
    ],
)
def test_a_card_must_fit_its_task(folder, change, message):
    rewrite(folder, change)
    with pytest.raises(BundleError, match=message):
        load_bundle(folder)


def test_a_vocabulary_without_a_checksum_is_not_read(with_book):
    sums = (with_book / "SHA256SUMS").read_text().splitlines(keepends=True)
    (with_book / "SHA256SUMS").write_text("".join(line for line in sums if "tokenizer" not in line))
    with pytest.raises(BundleError, match=r"names the vocabulary text\.tokenizer\.json, but SHA256SUMS has no"):
        load_bundle(with_book)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b'{"model": {"vocab": {}}}'])
def test_a_file_that_is_no_vocabulary(with_book, content):
    (with_book / tiny_bundles.BOOK).write_bytes(content)
    tiny_bundles.seal(with_book)
    with pytest.raises(BundleError, match=r"text\.tokenizer\.json"):
        load_bundle(with_book)


def test_a_vocabulary_of_a_name_that_leads_elsewhere(with_book):
    rewrite(with_book, lambda card: card["text"].update(vocabulary="../text.tokenizer.json"))
    with pytest.raises(BundleError, match=r"text\.vocabulary: String should match"):
        load_bundle(with_book)
