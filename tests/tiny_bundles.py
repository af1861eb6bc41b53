"""Bundles with tiny graphs, whose outputs tests compute by hand."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
from conftest import SECTIONS
from onnx import TensorProto, helper, numpy_helper

from unroll.config.tokenizer import TokenizerConfig
from unroll.features.special_tokens import BOS, SPECIAL_TOKENS
from unroll.features.text import Vocabulary

TYPES = {"uint8": TensorProto.UINT8, "int64": TensorProto.INT64, "float32": TensorProto.FLOAT}


def task(kind: str) -> dict[str, str]:
    """Return the task of a card; `kind` is a key of `conftest.SECTIONS`."""
    section = SECTIONS[kind]
    return {"name": kind, "domain": section["domain"], "kind": section["kind"], "topology": "many_to_one"}


def tensor(name: str, dtype: str, shape: Sequence[int | str]) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": list(shape), "unit": ""}


def card(kind: str, inputs: list[Any], outputs: list[Any], **sections: Any) -> dict[str, Any]:
    """Return the card of a model of a task."""
    about = {"format": 1, "name": f"tiny-{kind.replace('_', '-')}", "task": task(kind)}
    return {**about, "inputs": inputs, "outputs": outputs, **sections}


def seal(folder: Path) -> Path:
    """Write SHA256SUMS of the files in a folder."""
    names = sorted(path.name for path in folder.iterdir() if path.name != "SHA256SUMS")
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(sums))
    return folder


def write(
    folder: Path,
    card: dict[str, Any],
    nodes: list[Any],
    constants: dict[str, np.ndarray],
    vocabularies: Mapping[str, Vocabulary] | None = None,
) -> Path:
    """Write a bundle whose graph has the inputs and outputs of its card."""
    folder.mkdir(parents=True, exist_ok=True)
    sides = [
        [helper.make_tensor_value_info(one["name"], TYPES[one["dtype"]], one["shape"]) for one in card[side]]
        for side in ("inputs", "outputs")
    ]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", *sides, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "card.json").write_text(json.dumps(card))
    for name, vocabulary in (vocabularies or {}).items():
        (folder / name).write_text(vocabulary.to_json(), encoding="utf-8")
    return seal(folder)


def digits(folder: Path, name: str = "tiny-digits") -> Path:
    """Write a model that predicts the digit k whose gray value 25 k is nearest to the mean of the image."""
    nodes = [
        helper.make_node("Cast", ["inputs"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "last"], ["column"]),
        helper.make_node("Sub", ["column", "grays"], ["gap"]),
        helper.make_node("Abs", ["gap"], ["distance"]),
        helper.make_node("Neg", ["distance"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
    ]
    constants = {
        "axes": np.array([1, 2]),
        "last": np.array([1]),
        "grays": 25 * np.arange(10, dtype=np.float32)[None],
    }
    outputs = [tensor("label", "int64", ["batch"]), tensor("probabilities", "float32", ["batch", 10])]
    about = card("digits", [tensor("inputs", "uint8", ["batch", "time", 28])], outputs)
    about |= {"name": name, "task": task("digits") | {"name": "digit-rows"}, "metrics": {"test": {"accuracy": 0.1}}}
    about["data"] = {"data/raw/mnist": "d41d8cd98f00b204e9800998ecf8427e"}
    return write(folder, about, nodes, constants)


def prices_card(
    kind: str, outputs: list[dict[str, Any]], columns: Sequence[str], window: int, every_step: bool = False
) -> dict[str, Any]:
    prices = {"columns": list(columns), "target": "close", "window": window, "every_step": every_step}
    inputs = [tensor("inputs", "float32", ["batch", "time", len(columns)])]
    return card(kind, inputs, outputs, prices=prices, settings={"expectations": {"max_daily_move": 1e9}})


def last_price(folder: Path, *, columns: Sequence[str] = ("close",), window: int = 3, kind: str = "price") -> Path:
    """Write a model that forecasts the close of the last day."""
    nodes = [
        helper.make_node("Gather", ["inputs", "last"], ["day"], axis=1),
        helper.make_node("Gather", ["day", "close"], ["price"], axis=1),
    ]
    constants = {"last": np.array(-1), "close": np.array(list(columns).index("close"))}
    return write(folder, prices_card(kind, [tensor("price", "float32", ["batch"])], columns, window), nodes, constants)


def every_step(folder: Path, window: int = 3) -> Path:
    """Write a model that forecasts, at every step, the close of the day plus one."""
    nodes = [
        helper.make_node("Squeeze", ["inputs", "feature"], ["close"]),
        helper.make_node("Add", ["close", "one"], ["price"]),
    ]
    constants = {"feature": np.array([2]), "one": np.array(1, np.float32)}
    card = prices_card("price", [tensor("price", "float32", ["batch", "time"])], ["close"], window, every_step=True)
    return write(folder, card, nodes, constants)


def quantiles(folder: Path, window: int = 3) -> Path:
    """Write a model that forecasts log returns of −0.02, 0.01 and 0.03 at 10, 50 and 90 %."""
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
    """Return random images, uint8 [rows, 784], each around a gray value."""
    random = np.random.default_rng(seed)
    gray = random.integers(0, 226, (rows, 1))
    return np.clip(gray + random.integers(-20, 21, (rows, 784)), 0, 255).astype(np.uint8)


def digits_table(pixels: np.ndarray, **columns: Any) -> pa.Table:
    """Return a table with a column `pixels` from uint8 [rows, 784]."""
    lists = pa.FixedSizeListArray.from_arrays(pa.array(pixels.reshape(-1)), 784)
    return pa.table({**columns, "pixels": lists})


WORDS = ("a", "b", "c", "d", "e", "f", "g", "h")
"""Words of the models of text; their numbers are 6 to 13, in this order."""
BOOK = "text.tokenizer.json"
FIRST = len(SPECIAL_TOKENS)


def book(kind: str = "word", words: Sequence[str] = WORDS) -> Vocabulary:
    """Return a vocabulary of words, numbered in their order."""
    texts = [" ".join(words[: len(words) - i]) for i in range(len(words))]
    return Vocabulary.fit(texts, TokenizerConfig(kind=kind, vocabulary_size=100))


TOKENS = [tensor("inputs", "int64", ["batch", "time"]), tensor("lengths", "int64", ["batch"])]


def text_section(**changes: Any) -> dict[str, Any]:
    return {"column": "text", "vocabulary": BOOK, "max_tokens": 6, "truncation": True} | changes


def _near(value: str, classes: int) -> tuple[list[Any], dict[str, np.ndarray]]:
    """Return nodes for label and probabilities: the class whose number is nearest to a float [batch]."""
    nodes = [
        helper.make_node("Unsqueeze", [value, "one"], ["column"]),
        helper.make_node("Sub", ["column", "numbers"], ["gap"]),
        helper.make_node("Abs", ["gap"], ["distance"]),
        helper.make_node("Neg", ["distance"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
    ]
    return nodes, {"one": np.array([1]), "numbers": np.arange(classes, dtype=np.float32)[None]}


def _inside() -> tuple[list[Any], dict[str, np.ndarray]]:
    """Return nodes for `inside` int64 [batch, time]: 1 before the end of a row, 0 after it."""
    nodes = [
        helper.make_node("Shape", ["inputs"], ["steps"], start=1, end=2),
        helper.make_node("Squeeze", ["steps"], ["time"]),
        helper.make_node("Range", ["zero", "time", "next"], ["places"]),
        helper.make_node("Unsqueeze", ["lengths", "second"], ["ends"]),
        helper.make_node("Less", ["places", "ends"], ["is_inside"]),
        helper.make_node("Cast", ["is_inside"], ["inside"], to=TensorProto.INT64),
    ]
    return nodes, {"zero": np.array(0), "next": np.array(1), "second": np.array([1])}


def classifier(folder: Path, labels: Sequence[str] | None = ("low", "middle", "high"), **text: Any) -> Path:
    """Write a model that predicts the class nearest to the mean of the words: a is 0, b is 1, and so on."""
    nodes, constants = _near("mean", 3)
    before = [
        helper.make_node("ReduceSum", ["inputs", "axes"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["total"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["lengths"], ["count"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["total", "count"], ["number"]),
        helper.make_node("Sub", ["number", "first"], ["mean"]),
    ]
    constants |= {"axes": np.array([1]), "first": np.array(FIRST, np.float32)}
    outputs = [tensor("label", "int64", ["batch"]), tensor("probabilities", "float32", ["batch", 3])]
    about = card("text_class", TOKENS, outputs, text=text_section(**text), labels=labels and list(labels))
    return write(folder, about, before + nodes, constants, {BOOK: book()})


DECODING = {"beams": 2, "length_penalty": 1.0, "max_length": 5}
WRITTEN = [tensor("tokens", "int64", ["batch", "beam", "step"]), tensor("scores", "float32", ["batch", "beam"])]
SEARCH = [tensor("max_length", "int64", []), tensor("beams", "int64", []), tensor("length_penalty", "float32", [])]
DRAW = [
    *SEARCH,
    tensor("temperature", "float32", []),
    tensor("top_k", "int64", []),
    tensor("uniforms", "float32", ["batch", "beam", "draw"]),
]


def translator(folder: Path) -> Path:
    """Write a model that repeats `max_length` tokens, without the last k in beam k, whose score is −k · penalty."""
    nodes, constants = _inside()
    nodes = [
        helper.make_node("Range", ["zero", "beams", "next"], ["ranks"]),
        helper.make_node("Unsqueeze", ["ranks", "second"], ["rank_column"]),  # [beam, 1]
        *nodes,
        helper.make_node("Unsqueeze", ["ends", "second"], ["end_column"]),  # [batch, 1, 1]
        helper.make_node("Sub", ["end_column", "rank_column"], ["beam_ends"]),
        helper.make_node("Less", ["places", "beam_ends"], ["is_kept"]),
        helper.make_node("Cast", ["is_kept"], ["kept"], to=TensorProto.INT64),
        helper.make_node("Unsqueeze", ["inputs", "second"], ["sentences"]),
        helper.make_node("Mul", ["kept", "sentences"], ["whole"]),
        helper.make_node("Unsqueeze", ["max_length", "start"], ["end"]),
        helper.make_node("Slice", ["whole", "start", "end", "third"], ["tokens"]),
        helper.make_node("Cast", ["ranks"], ["float_ranks"], to=TensorProto.FLOAT),
        helper.make_node("Neg", ["float_ranks"], ["worse"]),
        helper.make_node("Mul", ["worse", "length_penalty"], ["row"]),
        helper.make_node("Cast", ["ends"], ["float_ends"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float_ends", "nothing"], ["nothings"]),
        helper.make_node("Add", ["row", "nothings"], ["scores"]),
    ]
    constants |= {"start": np.array([0]), "third": np.array([2]), "nothing": np.array(0, np.float32)}
    sections = {"text": text_section(column="source"), "output_vocabulary": BOOK, "decoding": DECODING}
    return write(folder, card("translation", TOKENS + SEARCH, WRITTEN, **sections), nodes, constants, {BOOK: book()})


def writer(folder: Path, **decoding: Any) -> Path:
    """Write a model that generates word number ⌊uniform · words⌋; the score is −(the sum of the prompt's numbers)."""
    nodes = [
        helper.make_node("Mul", ["uniforms", "words"], ["scaled"]),
        helper.make_node("Cast", ["scaled"], ["places"], to=TensorProto.INT64),
        helper.make_node("Add", ["places", "first"], ["tokens"]),
        helper.make_node("ReduceSum", ["inputs", "axes"], ["sum"], keepdims=1),
        helper.make_node("Cast", ["sum"], ["total"], to=TensorProto.FLOAT),
        helper.make_node("Neg", ["total"], ["negative"]),
        helper.make_node("ReduceSum", ["uniforms", "last"], ["chance"], keepdims=0),
        helper.make_node("Mul", ["chance", "nothing"], ["nothings"]),
        helper.make_node("Add", ["negative", "nothings"], ["scores"]),
    ]
    constants = {
        "words": np.array(len(WORDS), np.float32),
        "first": np.array(FIRST),
        "axes": np.array([1]),
        "last": np.array([2]),
        "nothing": np.array(0, np.float32),
    }
    sections = {"text": text_section(column="prompt", truncation=False, first_token=BOS), "output_vocabulary": BOOK}
    sections["decoding"] = DECODING | {"temperature": 1.0, "top_k": 0} | decoding
    return write(folder, card("language_model", TOKENS + DRAW, WRITTEN, **sections), nodes, constants, {BOOK: book()})


TAGS = ("O", "B-X", "I-X")
LETTERS = "character.tokenizer.json"


def tagger(folder: Path, characters: int = 2) -> Path:
    """Write a model that tags a token by the sum of its number and its characters', modulo 3; all scores are 1/2."""
    nodes, constants = _inside()
    nodes += [
        helper.make_node("ReduceSum", ["inputs", "last"], ["sums"], keepdims=0),
        helper.make_node("Mod", ["sums", "tags"], ["tag"]),
        helper.make_node("Mul", ["tag", "inside"], ["labels"]),
        helper.make_node("Cast", ["inside"], ["sure"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["sure", "half"], ["scores"]),
    ]
    constants |= {"last": np.array([2]), "tags": np.array(len(TAGS)), "half": np.array(0.5, np.float32)}
    shape = ["batch", "time"]
    own = {"column": "tokens", "pretokenized": True, "characters": characters}
    own["character_vocabulary"] = LETTERS if characters else None
    outputs = [tensor("labels", "int64", shape), tensor("scores", "float32", shape)]
    inputs = [tensor("inputs", "int64", [*shape, 1 + characters]), TOKENS[1]]
    about = card("tags", inputs, outputs, text=text_section(**own), labels=list(TAGS))
    books = {BOOK: book("split")} | ({LETTERS: book("split", ("a", "b", "x"))} if characters else {})
    return write(folder, about, nodes, constants, books)


def recordings(folder: Path, sample_rate: int | None = None) -> Path:
    """Write a model that predicts the class nearest to the mean of the first feature; with a rate, of sound."""
    nodes, constants = _near("mean", 3)
    before = [
        helper.make_node("Gather", ["inputs", "feature"], ["values"], axis=2),
        helper.make_node("ReduceSum", ["values", "axes"], ["total"], keepdims=0),
        helper.make_node("Cast", ["lengths"], ["count"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["total", "count"], ["mean"]),
    ]
    constants |= {"axes": np.array([1]), "feature": np.array(0)}
    inputs = [tensor("inputs", "float32", ["batch", "time", 2]), TOKENS[1]]
    outputs = [tensor("label", "int64", ["batch"]), tensor("probabilities", "float32", ["batch", 3])]
    array = {"column": "samples" if sample_rate else "frames", "variable_length": True, "sample_rate": sample_rate}
    about = card("recording_class", inputs, outputs, array=array)
    return write(folder, about, before + nodes, constants)


def strips(folder: Path, columns: int | str = 4) -> Path:
    """Write a model that labels each column of two pixels with the maximum gray value / 25, with score label / 10."""
    nodes = [
        helper.make_node("Cast", ["inputs"], ["pixels"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["pixels", "axes"], ["darkest"], keepdims=0),
        helper.make_node("Div", ["darkest", "gray"], ["labels"]),
        helper.make_node("Cast", ["labels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "tenth"], ["scores"]),
    ]
    constants = {"axes": np.array([2]), "gray": np.array(25), "tenth": np.array(0.1, np.float32)}
    outputs = [tensor("labels", "int64", ["batch", "time"]), tensor("scores", "float32", ["batch", "time"])]
    inputs = [tensor("inputs", "uint8", ["batch", columns, 2])]
    about = card("strip_columns", inputs, outputs, array={"column": "pixels", "variable_length": False})
    return write(folder, about, nodes, constants)
