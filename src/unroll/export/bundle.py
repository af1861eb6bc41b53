"""The folder that is shipped: a graph, a card that says what goes in and out, vocabularies, and their checksums."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from unroll.domains.task import Task, TensorSpec
from unroll.features.samples import VOCABULARY
from unroll.files import sha256_of, write_json, write_text

FORMAT = 1
_SUMS = "SHA256SUMS"
_LENGTHS = TensorSpec("lengths", "int64", ("batch",), "steps of each row that are no padding")
_SEARCH = (
    TensorSpec("max_length", "int64", (), "tokens at most"),
    TensorSpec("beams", "int64", (), "hypotheses that are followed, or sequences that are drawn"),
    TensorSpec("length_penalty", "float32", (), "a hypothesis counts by log probability / length ^ this"),
)
_DRAW = (
    TensorSpec("temperature", "float32", (), "0 searches; above, tokens are drawn"),
    TensorSpec("top_k", "int64", (), "draw from so many of the likeliest tokens; 0: all"),
    TensorSpec("uniforms", "float32", ("batch", "beam", "draw"), "what is drawn with, 0 to below 1"),
)


def inputs_of(task: Task, *, free_time: bool) -> Sequence[TensorSpec]:
    """Every input of a task's graph.

    Args:
        task: What was learned.
        free_time: Whether sequences of other lengths may be scored.
    """
    entry = task.inputs
    if not free_time:
        entry = replace(entry, shape=tuple(task.input_steps if size == "time" else size for size in entry.shape))
    search = _SEARCH if task.output == "tokens" else ()
    return (entry, *([_LENGTHS] if takes_lengths(task) else []), *search, *(_DRAW if draws(task) else []))


def takes_lengths(task: Task) -> bool:
    """Whether a task's graph is told where sequences end: the prompts of all language models vary."""
    return task.variable_length or draws(task)


def draws(task: Task) -> bool:
    """Whether a task's graph can draw tokens: where it goes on with a prompt, there is more than one way."""
    return task.output == "tokens" and task.every_step


def card(
    name: str, task: Task, topology: str, *, free_time: bool, data: Mapping[str, str], figures: Mapping[str, Any]
) -> dict[str, Any]:
    """What a reader of the bundle has to know.

    Args:
        name: Of the experiment.
        task: What it learned.
        topology: Of the network.
        free_time: Whether sequences of other lengths may be scored.
        data: DVC's md5 of the data that it was made from.
        figures: Headline metric on the test split and the baselines'.
    """
    return {
        "format": FORMAT,
        "name": name,
        "task": {"name": task.name, "domain": task.domain, "kind": task.kind, "topology": topology},
        "inputs": [asdict(spec) for spec in inputs_of(task, free_time=free_time)],
        "outputs": [asdict(spec) for spec in task.outputs],
        "data": dict(data),
        "metrics": dict(figures),
        **task.details,
    }


def seal(folder: Path, content: Mapping[str, Any], task: Task) -> None:
    """Writes card and vocabularies, and the checksums of all, beside a graph that is already there."""
    write_json(folder / "card.json", content)
    for name, vocabulary in task.vocabularies.items():
        write_text(folder / f"{name}{VOCABULARY}", vocabulary.to_json())
    _write_sums(folder)


def add(folder: Path, contents: Mapping[str, Any]) -> None:
    """Writes more files of JSON into a sealed bundle, and seals it again."""
    for name, content in contents.items():
        write_json(folder / name, content)
    _write_sums(folder)


def _write_sums(folder: Path) -> None:
    names = sorted(path.name for path in folder.iterdir() if path.name != _SUMS)
    write_text(folder / _SUMS, "".join(f"{sha256_of(folder / name)}  {name}\n" for name in names))
