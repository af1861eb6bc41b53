"""The shipped folder: a graph, a card that says what goes in and out, and the checksums of both."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from unroll.errors import BundleError

MODEL = "model.onnx"
CARD = "card.json"
SUMS = "SHA256SUMS"
PROVENANCE = "provenance.json"

# onnxruntime's exceptions have no common base of their own.
ORT_ERRORS = (
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
)

# What a graph must give for each kind of task: name -> dtype and the ranks it may have.
_OUTPUTS: Mapping[str, Mapping[str, tuple[str, tuple[int, ...]]]] = {
    "digits": {"label": ("int64", (1,)), "probabilities": ("float32", (2,))},
    "price": {"price": ("float32", (1, 2))},
    "log_return": {"price": ("float32", (1,))},
    "return_quantiles": {"log_return_quantiles": ("float32", (2,))},
}
_DTYPES = {"float": "float32", "double": "float64"}


class _Part(BaseModel):
    """A part of the card: nothing misspelt, nothing converted, nothing changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Tensor(_Part):
    """An input or output of the graph. A dimension is a number, or a name where it varies."""

    name: str
    dtype: Literal["uint8", "int64", "float32"]
    shape: tuple[int | str, ...]
    unit: str = ""


class CardTask(_Part):
    """What the model was trained for."""

    name: str
    kind: Literal["digits", "price", "log_return", "return_quantiles"]
    topology: str


class PriceInput(_Part):
    """What a row of inputs is made of: the last `window` days of `columns`, in this order."""

    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    target: str
    known: str | None = None
    """The column whose last value is the last known price; None: the target's."""
    window: Annotated[int, Field(ge=1)]
    """Days that go into the graph."""
    every_step: bool = False


class Card(_Part):
    """What the bundle says about itself."""

    format: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    task: CardTask
    reader: Literal["digits", "prices"]
    inputs: Annotated[tuple[Tensor, ...], Field(min_length=1, max_length=1)]
    outputs: Annotated[tuple[Tensor, ...], Field(min_length=1)]
    prices: PriceInput | None = None
    quantiles: tuple[float, ...] | None = None
    data: dict[str, str] = Field(default_factory=dict)
    """DVC md5 of the data that the model was trained on."""
    metrics: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        wanted = ("digits", "uint8") if self.task.kind == "digits" else ("prices", "float32")
        entry = self.inputs[0]
        if (self.reader, entry.dtype) != wanted or len(entry.shape) != 3:
            raise ValueError(
                f"a {self.task.kind} model needs reader {wanted[0]} and one {wanted[1]} input [batch, time, feature], "
                f"not reader {self.reader} and {entry.dtype} {list(entry.shape)}"
            )
        if (self.reader == "prices") != (self.prices is not None):
            raise ValueError("reader prices and the section prices belong together")
        if self.prices and entry.shape[2] != len(self.prices.columns):
            raise ValueError(f"{len(self.prices.columns)} price columns do not fill an input {list(entry.shape)}")
        if (self.task.kind == "return_quantiles") != (self.quantiles is not None):
            raise ValueError("quantiles stand in the card of a return_quantiles model, and nowhere else")
        if self.quantiles is not None and 0.5 not in self.quantiles:
            raise ValueError(f"quantiles {list(self.quantiles)} lack the median, 0.5")
        outputs = {tensor.name: tensor for tensor in self.outputs}
        for name, (dtype, ranks) in _OUTPUTS[self.task.kind].items():
            if name not in outputs:
                raise ValueError(f"a {self.task.kind} model needs an output {name!r}; there are {sorted(outputs)}")
            if outputs[name].dtype != dtype or len(outputs[name].shape) not in ranks:
                raise ValueError(f"output {name!r} must be {dtype} of rank {' or '.join(map(str, ranks))}")
        return self


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    `graph` holds the very bytes whose checksum was verified, so that nothing can change between check and use.
    """

    folder: Path
    card: Card
    sha256: str
    graph: bytes = field(repr=False)
    provenance: Mapping[str, Any] | None
    """Git commit and MLflow run, if they came along and are this graph's."""

    @property
    def model(self) -> Path:
        """Path of the graph."""
        return self.folder / MODEL

    @property
    def version(self) -> str:
        """`NAME@` and the first 12 hex digits of the graph's SHA-256."""
        return f"{self.card.name}@{self.sha256[:12]}"


def load_bundle(folder: Path) -> Bundle:
    """Reads and verifies a bundle.

    Args:
        folder: The bundle, or the model's folder that holds it as `bundle/`.

    Raises:
        BundleError: A file is missing or altered, the card is of another format or has faults, or the graph's inputs
            and outputs are not the card's.
    """
    if not (folder / CARD).is_file() and (folder / "bundle").is_dir():
        folder = folder / "bundle"
    if not folder.is_dir():
        raise BundleError(f"there is no bundle in {folder}; make one with `unroll export NAME` or `dvc repro`")
    contents = _verified(folder)
    card = _card(contents[CARD], folder / CARD)
    sha256 = hashlib.sha256(contents[MODEL]).hexdigest()
    bundle = Bundle(
        folder=folder,
        card=card,
        sha256=sha256,
        graph=contents[MODEL],
        provenance=_provenance(folder.parent / PROVENANCE, sha256),
    )
    _check_graph(bundle)
    return bundle


def open_session(bundle: Bundle, threads: int, *, optimise: bool = True) -> onnxruntime.InferenceSession:
    """An onnxruntime session on the verified bytes, run by `threads` threads, one operator after the other.

    Raises:
        BundleError: onnxruntime cannot load the graph.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(bundle.graph, options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        raise BundleError(f"{bundle.model} cannot be loaded: {_one_line(error)}; export the model again") from error


def _verified(folder: Path) -> dict[str, bytes]:
    """Contents of every file that SHA256SUMS lists, each with the promised checksum."""
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
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error


def _card(content: bytes, path: Path) -> Card:
    try:
        raw = json.loads(content)
    except ValueError as error:
        raise BundleError(f"{path} is no JSON: {error}") from None
    found = raw.get("format") if isinstance(raw, dict) else None
    if found != 1:
        raise BundleError(f"{path} has format {found!r}; this unroll reads format 1: export the model again with it")
    try:
        return Card.model_validate_json(content)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'card'}: {fault['msg']}" for fault in error.errors(include_url=False)
        )
        raise BundleError(f"{path} does not fit: {faults}") from None


def _provenance(path: Path, model_sha256: str) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    try:
        provenance = json.loads(_read(path))
    except ValueError as error:
        raise BundleError(f"{path} is no JSON: {error}; remove it or export the model again") from None
    if not isinstance(provenance, dict):
        raise BundleError(f"{path} must hold a mapping, not {type(provenance).__name__}")
    # The file lies beside the bundle and may be of another one that lay there.
    return provenance if provenance.get("model_sha256") == model_sha256 else None


def _check_graph(bundle: Bundle) -> None:
    """Holds the graph's inputs and outputs to the card's: names, dtypes, ranks and fixed dimensions."""
    session = open_session(bundle, threads=1, optimise=False)
    differences = []
    for side, stated, actual in (
        ("input", bundle.card.inputs, session.get_inputs()),
        ("output", bundle.card.outputs, session.get_outputs()),
    ):
        there = {node.name: node for node in actual}
        names = [tensor.name for tensor in stated]
        if sorted(names) != sorted(there):
            differences.append(f"{side}s are {sorted(there)}, the card says {sorted(names)}")
            continue
        for tensor in stated:
            node = there[tensor.name]
            match = re.fullmatch(r"tensor\((.+)\)", node.type)
            dtype = _DTYPES.get(match[1], match[1]) if match else node.type
            if dtype != tensor.dtype or not _same_shape(tensor.shape, node.shape):
                differences.append(
                    f"{side} {tensor.name!r} is {dtype} {list(node.shape)}, "
                    f"the card says {tensor.dtype} {list(tensor.shape)}"
                )
    if differences:
        raise BundleError(f"{bundle.model} is not what {CARD} describes: {'; '.join(differences)}")


def _same_shape(stated: tuple[int | str, ...], actual: list[int | str | None]) -> bool:
    # A name stands for a dimension that varies: the graph may name it otherwise, but must not have frozen it.
    # Where the graph leaves a dimension open, the card may know it.
    return len(stated) == len(actual) and all(
        not isinstance(there, int) or there == said for said, there in zip(stated, actual, strict=True)
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
