"""Reading params.yaml: strictly, all faults reported at once."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import TypeAdapter, ValidationError

from unroll import paths
from unroll.config.base import Name
from unroll.config.datasets import Dataset
from unroll.config.experiments import Experiment
from unroll.config.sections import Params
from unroll.config.tasks import Task
from unroll.errors import ParameterError

_SECTIONS: Mapping[str, Any] = {
    "datasets": Dataset,
    "tasks": Task,
    "experiments": Experiment,
}


SectionName = Literal["datasets", "tasks", "experiments"]


def load_all(path: Path = paths.PARAMS) -> Params:
    """Reads the whole file.

    Raises:
        ParameterError: The file is missing, no YAML, or has faults; all of them are in the message.
    """
    content = _read(path)
    parsed: Params = _validate(Params, content, path, "", _missing_references(content))
    return parsed


def load_section(section: SectionName, name: str, path: Path = paths.PARAMS) -> Any:
    """Reads one named entry: `load_section("tasks", "digit-rows")`.

    Raises:
        ParameterError: The file or the entry is missing, or the entry has faults; all of them are in the message.
    """
    entries = _read(path).get(section)
    if not isinstance(entries, dict) or name not in entries:
        there = ", ".join(sorted(map(str, entries))) if isinstance(entries, dict) else "nothing"
        raise ParameterError(f"{path}: there is no {section}.{name}; {section} has: {there}")
    _validate(dict[Name, Any], {name: None}, path, section, _reserved(section, name))
    return _validate(_SECTIONS[section], entries[name], path, f"{section}.{name}")


def names(section: SectionName, path: Path = paths.PARAMS) -> list[str]:
    """The names under a section, in the file's order.

    Raises:
        ParameterError: The file or the section is missing.
    """
    entries = _read(path).get(section)
    if not isinstance(entries, dict):
        raise ParameterError(f"{path}: {section} must be a mapping of names, not {entries!r}")
    return list(entries)


class _UniqueKeys(yaml.SafeLoader):
    """YAML whose mappings name nothing twice: the later one would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands here twice", key_node.start_mark)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the name {key_node.value} is read as no text: put it in quotes", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


# DVC writes 0.00005 as 5e-05, which YAML 1.2 takes for a number and PyYAML for text.
_UniqueKeys.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _read(path: Path) -> dict[str, Any]:
    try:
        # A safe loader, with a check added.
        content = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)  # noqa: S506 -- a SafeLoader
    except FileNotFoundError:
        raise ParameterError(f"{path} is not here; run unroll in the repository's root") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ParameterError(f"{path} holds no mapping; it must have the keys {', '.join(Params.model_fields)}")
    return content


def _validate(kind: Any, content: Any, path: Path, prefix: str, known_faults: Sequence[str] = ()) -> Any:
    faults = []
    try:
        # Strict JSON mode takes lists for tuples and ISO strings for dates, and still refuses "3" for a number.
        parsed = TypeAdapter(kind).validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        found = error.errors(include_url=False)
        # A list whose entry is faulty is reported as too short as well.
        inner = [fault["loc"] for fault in found]
        faults = [
            _describe(fault, content, prefix)
            for fault in found
            if fault["type"] != "too_short" or not any(loc[: len(fault["loc"])] == fault["loc"] != loc for loc in inner)
        ]
    faults += known_faults
    if faults:
        count = f"{len(faults)} faults" if len(faults) > 1 else "1 fault"
        raise ParameterError(f"{path} has {count}:\n  " + "\n  ".join(faults)) from None
    return parsed


def _describe(fault: Mapping[str, Any], content: Any, prefix: str) -> str:
    """One fault as `path: what is wrong (found VALUE)`."""
    parts: list[str] = [prefix] if prefix else []
    node, tagged = content, False
    for part in fault["loc"]:
        # Pydantic puts the kind of a section into the path; the reader's file has no such key.
        if isinstance(node, dict) and node.get("kind") == part and not tagged:
            tagged = True
            continue
        parts.append(str(part))
        tagged = False
        try:
            node = node[part]
        except (KeyError, IndexError, TypeError):
            node = None
    where = ".".join(parts)
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = "no such parameter (misspelt?)"
    elif fault["type"] == "missing":
        return f"{where}: is missing"
    if isinstance(fault["input"], dict | list):
        return f"{where}: {message}" if where else str(message)
    return f"{where}: {message} (found {fault['input']!r})"


def _missing_references(content: Mapping[str, Any]) -> list[str]:
    """Names that are used and stand nowhere; found in the raw file, so that other faults do not hide them."""

    def entries(section: str) -> dict[str, Any]:
        found = content.get(section)
        return found if isinstance(found, dict) else {}

    def check(where: str, kind: str, section: str, name: Any) -> list[str]:
        there = entries(section)
        if not isinstance(name, str) or name in there:
            return []
        return [f"{where}: there is no {kind} {name!r} (there are: {', '.join(map(str, there))})"]

    faults = []
    for name, task in entries("tasks").items():
        if isinstance(task, dict):
            faults += check(f"tasks.{name}.dataset", "dataset", "datasets", task.get("dataset"))
    for name, experiment in entries("experiments").items():
        faults += _reserved("experiments", name)
        if isinstance(experiment, dict):
            faults += check(f"experiments.{name}.task", "task", "tasks", experiment.get("task"))
    return faults


def _reserved(section: str, name: Any) -> list[str]:
    if section == "experiments" and name == paths.RESULTS.name:
        return [f"experiments.{name}: {paths.RESULTS} holds the leaderboard's lines; choose another name"]
    return []
