"""Read a bundle, the folder that is shipped: a graph, its card, vocabularies, and checksums of all of them."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state
from pydantic import TypeAdapter, ValidationError

from unroll.errors import BundleError, FormatError
from unroll.features.text import Vocabulary
from unroll.inference.card import Card
from unroll.inference.reference import EXPECTATIONS, REFERENCE, Expectation, Reference

MODEL = "model.onnx"
CARD = "card.json"
SUMS = "SHA256SUMS"
PROVENANCE = "provenance.json"

_TOO_NEW = re.compile(r"Unsupported model IR version|Opset \d+ is under development")
_FIRST_ONNXRUNTIME = "1.18"
"""The first that reads graphs of ONNX's IR version 10, which `export` writes."""

# onnxruntime's exceptions have no common base of their own.
ORT_ERRORS = (
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
)


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    `graph` holds the bytes whose checksum was verified, so that nothing can change between check and use.
    """

    folder: Path
    card: Card
    sha256: str
    graph: bytes = field(repr=False)
    provenance: Mapping[str, Any] | None
    """Git commit and MLflow run of the graph; None if unknown."""
    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict, repr=False)
    """By file name; made from verified bytes, too."""
    reference: Reference | None = field(default=None, repr=False)
    """Distributions of the training rows and predictions, if the bundle has them."""
    expectations: tuple[Expectation, ...] = ()
    """Bounds that every row has to be within, if the bundle has some."""

    @property
    def model(self) -> Path:
        """Path of the graph."""
        return self.folder / MODEL

    @property
    def version(self) -> str:
        """`NAME@` and the first 12 hex digits of the graph's SHA-256."""
        return f"{self.card.name}@{self.sha256[:12]}"


def load_bundle(folder: Path) -> Bundle:
    """Read and verify the bundle in a folder, or in its `bundle/`.

    Raises:
        BundleError: A file is missing, altered or not valid.
    """
    if not (folder / CARD).is_file() and (folder / "bundle").is_dir():
        folder = folder / "bundle"
    if not folder.is_dir():
        name = folder.parent.name if folder.name == "bundle" else folder.name
        raise BundleError(
            f"there is no bundle in {folder}; make it with `unroll export {name}`, or run all stages that it needs: "
            f"`dvc repro export@{name}`"
        )
    contents = _verified(folder)
    card = _card(contents[CARD], folder / CARD)
    sha256 = hashlib.sha256(contents[MODEL]).hexdigest()
    return Bundle(
        folder=folder,
        card=card,
        sha256=sha256,
        graph=contents[MODEL],
        provenance=_provenance(folder.parent / PROVENANCE, sha256),
        vocabularies={name: _vocabulary(contents, name, folder) for name in card.vocabularies},
        reference=_parsed(Reference, contents[REFERENCE], folder / REFERENCE) if REFERENCE in contents else None,
        expectations=_expectations(contents[EXPECTATIONS], card, folder) if EXPECTATIONS in contents else (),
    )


def _expectations(content: bytes, card: Card, folder: Path) -> tuple[Expectation, ...]:
    expectations: tuple[Expectation, ...] = _parsed(tuple[Expectation, ...], content, folder / EXPECTATIONS)
    known = card.interface.reader.profiled
    if unknown := {one.column for one in expectations}.difference(known):
        raise BundleError(
            f"{folder / EXPECTATIONS} names {', '.join(sorted(unknown))}, but a row of this model is described by "
            f"{', '.join(known)}; export the model again"
        )
    return expectations


def open_session(bundle: Bundle) -> onnxruntime.InferenceSession:
    """Open an onnxruntime session on the verified bytes, of one thread.

    One thread a call and several calls at once are faster for small networks than several threads a call, and the
    number of threads does not change the result.

    Raises:
        BundleError: onnxruntime cannot load the graph.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(bundle.graph, options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        reason = " ".join(str(error).split())
        if _TOO_NEW.search(reason):
            raise BundleError(
                f"{bundle.model} needs a newer onnxruntime than {onnxruntime.__version__}; bundles of this unroll need "
                f"at least {_FIRST_ONNXRUNTIME}: {reason}"
            ) from error
        raise BundleError(f"{bundle.model} cannot be loaded: {reason}; export the model again") from error


def _verified(folder: Path) -> dict[str, bytes]:
    """Return the contents of every file in SHA256SUMS, by name; raise BundleError where a checksum differs."""
    contents = {}
    sums = _sums(folder / SUMS)
    for name, promised in sums.items():
        content = _read(folder / name)
        found = hashlib.sha256(content).hexdigest()
        if found != promised:
            raise BundleError(
                f"{folder / name} was altered: its SHA-256 is {found}, {SUMS} promises {promised}; "
                "export the model again or fetch the bundle anew"
            )
        contents[name] = content
    return contents


def _sums(path: Path) -> dict[str, str]:
    sums = {}
    text = _read(path).decode("utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        match = re.fullmatch(r"([0-9a-f]{64}) [ *]([A-Za-z0-9_-][A-Za-z0-9._-]*)", line)
        if not match:
            raise BundleError(f"{path}, line {number}: expected `SHA256  NAME`, found {line[:100]!r}")
        sums[match[2]] = match[1]
    missing = [name for name in (MODEL, CARD) if name not in sums]
    if missing:
        raise BundleError(f"{path} has no checksum of {' and '.join(missing)}; export the model again")
    return sums


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BundleError(
            f"{path} is missing; a bundle holds {MODEL}, {CARD} and {SUMS}: export the model again"
        ) from None
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}; check its permissions") from error


def _card(content: bytes, path: Path) -> Card:
    try:
        raw = json.loads(content)
    except ValueError as error:
        raise BundleError(f"{path} is not JSON: {error}; export the model again") from None
    found = raw.get("format") if isinstance(raw, dict) else None
    if found != 1:
        raise BundleError(f"{path} has format {found!r}; this unroll reads format 1: export the model again with it")
    card: Card = _parsed(Card, content, path)
    return card


def _parsed(kind: Any, content: bytes, path: Path) -> Any:
    try:
        return TypeAdapter(kind).validate_json(content)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'content'}: {fault['msg']}"
            for fault in error.errors(include_url=False)
        )
        raise BundleError(f"{path} does not fit: {faults}; export the model again") from None


def _vocabulary(contents: Mapping[str, bytes], name: str, folder: Path) -> Vocabulary:
    if name not in contents:
        raise BundleError(
            f"{folder / CARD} names the vocabulary {name}, but {SUMS} has no checksum of it; export the model again"
        )
    try:
        return Vocabulary.from_json(contents[name].decode("utf-8"), str(folder / name))
    except UnicodeDecodeError as error:
        raise BundleError(f"{folder / name} is not UTF-8 text: {error}; export the model again") from None
    except FormatError as error:
        raise BundleError(str(error)) from None


def _provenance(path: Path, model_sha256: str) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    try:
        provenance = json.loads(_read(path))
    except ValueError as error:
        raise BundleError(f"{path} is not JSON: {error}; remove it or export the model again") from None
    if not isinstance(provenance, dict):
        raise BundleError(f"{path} must hold a mapping, not {type(provenance).__name__}; export the model again")
    # The file is beside the bundle, and may belong to one that was there before.
    return provenance if provenance.get("model_sha256") == model_sha256 else None
