"""Bundles with graphs so small that a test can say what they must answer."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
from onnx import TensorProto, helper, numpy_helper

TYPES = {"uint8": TensorProto.UINT8, "int64": TensorProto.INT64, "float32": TensorProto.FLOAT}


def tensor(name: str, dtype: str, shape: Sequence[int | str]) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": list(shape), "unit": ""}


def seal(folder: Path) -> Path:
    """Writes SHA256SUMS of what is there."""
    names = ("model.onnx", "card.json")
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(sums))
    return folder


def write(folder: Path, card: dict[str, Any], nodes: list[Any], constants: dict[str, np.ndarray]) -> Path:
    """Writes a bundle whose graph has the inputs and outputs of its card."""
    folder.mkdir(parents=True, exist_ok=True)
    sides = [
        [helper.make_tensor_value_info(one["name"], TYPES[one["dtype"]], one["shape"]) for one in card[side]]
        for side in ("inputs", "outputs")
    ]
    initialisers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", *sides, initialisers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "card.json").write_text(json.dumps(card))
    return seal(folder)


def digits_card(name: str = "tiny-digits") -> dict[str, Any]:
    return {
        "format": 1,
        "name": name,
        "task": {"name": "digit-rows", "kind": "digits", "topology": "many_to_one"},
        "reader": "digits",
        "inputs": [tensor("inputs", "uint8", ["batch", "time", 28])],
        "outputs": [tensor("label", "int64", ["batch"]), tensor("probabilities", "float32", ["batch", 10])],
        "data": {"data/raw/mnist": "d41d8cd98f00b204e9800998ecf8427e"},
        "metrics": {"test": {"accuracy": 0.1}},
    }


def digits(folder: Path, name: str = "tiny-digits") -> Path:
    """Takes an image for the digit k whose grey 25 k is nearest to the image's mean: 0 for blank, 9 for 225."""
    nodes = [
        helper.make_node("Cast", ["inputs"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "last"], ["column"]),
        helper.make_node("Sub", ["column", "greys"], ["gap"]),
        helper.make_node("Abs", ["gap"], ["distance"]),
        helper.make_node("Neg", ["distance"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
    ]
    constants = {
        "axes": np.array([1, 2]),
        "last": np.array([1]),
        "greys": 25 * np.arange(10, dtype=np.float32)[None],
    }
    return write(folder, digits_card(name), nodes, constants)


def prices_card(
    kind: str, outputs: list[dict[str, Any]], columns: Sequence[str], window: int, every_step: bool = False
) -> dict[str, Any]:
    return {
        "format": 1,
        "name": f"tiny-{kind.replace('_', '-')}",
        "task": {"name": kind, "kind": kind, "topology": "many_to_one"},
        "reader": "prices",
        "inputs": [tensor("inputs", "float32", ["batch", "time", len(columns)])],
        "outputs": outputs,
        "prices": {"columns": list(columns), "target": "close", "window": window, "every_step": every_step},
        "data": {},
        "metrics": {},
    }


def last_price(folder: Path, *, columns: Sequence[str] = ("close",), window: int = 3, kind: str = "price") -> Path:
    """Forecasts the last day's close."""
    nodes = [
        helper.make_node("Gather", ["inputs", "last"], ["day"], axis=1),
        helper.make_node("Gather", ["day", "close"], ["price"], axis=1),
    ]
    constants = {"last": np.array(-1), "close": np.array(list(columns).index("close"))}
    return write(folder, prices_card(kind, [tensor("price", "float32", ["batch"])], columns, window), nodes, constants)


def every_step(folder: Path, window: int = 3) -> Path:
    """Forecasts each day's close plus one."""
    nodes = [
        helper.make_node("Squeeze", ["inputs", "feature"], ["close"]),
        helper.make_node("Add", ["close", "one"], ["price"]),
    ]
    constants = {"feature": np.array([2]), "one": np.array(1, np.float32)}
    card = prices_card("price", [tensor("price", "float32", ["batch", "time"])], ["close"], window, every_step=True)
    return write(folder, card, nodes, constants)


def quantiles(folder: Path, window: int = 3) -> Path:
    """Says of every ticker: log return −0.02, 0.01, 0.03 at 10, 50 and 90 %."""
    nodes = [
        helper.make_node("Mul", ["inputs", "zero"], ["nothing"]),
        helper.make_node("ReduceSum", ["nothing", "axes"], ["column"], keepdims=0),
        helper.make_node("Add", ["column", "levels"], ["log_return_quantiles"]),
    ]
    constants = {
        "zero": np.array(0, np.float32),
        "axes": np.array([1]),
        "levels": np.array([[-0.02, 0.01, 0.03]], np.float32),
    }
    output = tensor("log_return_quantiles", "float32", ["batch", 3])
    card = prices_card("return_quantiles", [output], ["close"], window) | {"quantiles": [0.1, 0.5, 0.9]}
    return write(folder, card, nodes, constants)


def images(rows: int, seed: int = 0) -> np.ndarray:
    """uint8 [rows, 784] of all greys."""
    random = np.random.default_rng(seed)
    grey = random.integers(0, 226, (rows, 1))
    return np.clip(grey + random.integers(-20, 21, (rows, 784)), 0, 255).astype(np.uint8)


def digits_table(pixels: np.ndarray, **columns: Any) -> pa.Table:
    """A table with a `pixels` column, of uint8 [rows, 784]."""
    lists = pa.FixedSizeListArray.from_arrays(pa.array(pixels.reshape(-1)), 784)
    return pa.table({**columns, "pixels": lists})
