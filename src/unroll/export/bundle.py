"""The folder that is shipped: a graph, a card that says what goes in and out, and their checksums."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unroll.files import sha256_of, write_json, write_text
from unroll.tasks.task import Task

FORMAT = 1


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
    inputs = asdict(task.inputs)
    if not free_time:
        inputs["shape"] = [task.input_steps if size == "time" else size for size in inputs["shape"]]
    return {
        "format": FORMAT,
        "name": name,
        "task": {"name": task.name, "kind": task.kind, "topology": topology},
        "reader": task.reader,
        "inputs": [inputs],
        "outputs": [asdict(spec) for spec in task.outputs],
        "data": dict(data),
        "metrics": dict(figures),
        **task.details,
    }


def seal(folder: Path, content: Mapping[str, Any]) -> None:
    """Writes the card, and the checksums of card and graph, beside a graph that is already there."""
    write_json(folder / "card.json", content)
    lines = [f"{sha256_of(folder / name)}  {name}\n" for name in ("card.json", "model.onnx")]
    write_text(folder / "SHA256SUMS", "".join(lines))
