"""The folder that is shipped: graph, card (what goes in and out), vocabularies, and checksums."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from unroll.domains.task import Task, TensorSpec
from unroll.features.samples import VOCABULARY
from unroll.files import sha256_of, write_json, write_text

FORMAT = 1
_SUMS = "SHA256SUMS"
_LENGTHS = TensorSpec("lengths", "int64", ("batch",), "valid steps of each row")
_SEARCH = (
    TensorSpec("max_length", "int64", (), "maximum number of tokens"),
    TensorSpec("beams", "int64", (), "hypotheses of the search, or sequences to sample"),
    TensorSpec("length_penalty", "float32", (), "hypotheses are ranked by log probability / length ^ this"),
)
_SAMPLING = (
    TensorSpec("temperature", "float32", (), "0 searches; above 0, tokens are sampled"),
    TensorSpec("top_k", "int64", (), "sample from the k likeliest tokens; 0: all"),
    TensorSpec("uniforms", "float32", ("batch", "beam", "draw"), "random numbers to sample with, in [0, 1)"),
)


def graph_inputs(task: Task, *, dynamic_time: bool) -> Sequence[TensorSpec]:
    """Return every input of a task's graph.

    Args:
        task: What was learned.
        dynamic_time: Whether sequences of other lengths than the samples' can be scored.
    """
    inputs = task.inputs
    if not dynamic_time:
        inputs = replace(inputs, shape=tuple(task.input_steps if size == "time" else size for size in inputs.shape))
    search = _SEARCH if task.output == "tokens" else ()
    return (inputs, *([_LENGTHS] if takes_lengths(task) else []), *search, *(_SAMPLING if can_sample(task) else []))


def takes_lengths(task: Task) -> bool:
    """Return whether a task's graph takes lengths; the prompts of every language model vary in length."""
    return task.variable_length or can_sample(task)


def can_sample(task: Task) -> bool:
    """Return whether a task's graph can sample tokens: language models can, but translation models only search."""
    return task.output == "tokens" and task.every_step


def make_card(
    name: str,
    task: Task,
    topology: str,
    *,
    dynamic_time: bool,
    data: Mapping[str, str],
    metrics: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the card of a bundle; `unroll.inference.card` describes it.

    Args:
        name: Name of the experiment.
        task: What it learned.
        topology: Topology of the network.
        dynamic_time: Whether sequences of other lengths than the samples' can be scored.
        data: DVC's md5 of the data that it was trained on.
        metrics: The headline metric on the test split, and the baselines'.
        settings: Settings with which the files of its dataset were read.
    """
    return {
        "format": FORMAT,
        "name": name,
        "task": {"name": task.name, "domain": task.domain, "kind": task.kind, "topology": topology},
        "inputs": [asdict(spec) for spec in graph_inputs(task, dynamic_time=dynamic_time)],
        "outputs": [asdict(spec) for spec in task.outputs],
        "settings": dict(settings or {}),
        "data": dict(data),
        "metrics": dict(metrics),
        **task.details,
    }


def write_card(folder: Path, card: Mapping[str, Any], task: Task) -> None:
    """Write card, vocabularies and checksums beside a graph."""
    write_json(folder / "card.json", card)
    for name, vocabulary in task.vocabularies.items():
        write_text(folder / f"{name}{VOCABULARY}", vocabulary.to_json())
    _write_sums(folder)


def add_files(folder: Path, contents: Mapping[str, Any]) -> None:
    """Write more JSON files into a bundle, and update its checksums."""
    for name, content in contents.items():
        write_json(folder / name, content)
    _write_sums(folder)


def _write_sums(folder: Path) -> None:
    names = sorted(path.name for path in folder.iterdir() if path.name != _SUMS)
    write_text(folder / _SUMS, "".join(f"{sha256_of(folder / name)}  {name}\n" for name in names))
