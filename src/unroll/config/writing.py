"""Write values into params.yaml, and leave every other character as it is.

Loading and dumping with ruamel.yaml keeps comments, but breaks flow mappings into other lines; so only the marks of its
nodes are used, and the text between them is replaced.
"""

import copy
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from unroll import paths
from unroll.errors import ParameterError
from unroll.files import write_text


def set_values(experiment: str, values: Mapping[str, Any], path: Path = paths.PARAMS) -> None:
    """Set parameters of an experiment, by their dotted names.

    Raises:
        ParameterError: As `with_set_values`.
    """
    write_text(path, with_set_values(experiment, values, path))


def with_set_values(experiment: str, values: Mapping[str, Any], path: Path = paths.PARAMS) -> str:
    """Return the text of the file with other parameters of an experiment.

    Raises:
        ParameterError: The file's layout does not allow it, such as a value that an alias shares with another row.
    """
    # Bytes, because reading text would change the line ends.
    text = path.read_bytes().decode()
    wanted = YAML(typ="safe").load(text)
    for name, value in values.items():
        names = ["experiments", experiment, *name.split(".")]
        wanted = _with_value(wanted, names, value)
        text = _edited(text, names, value)
        if YAML(typ="safe").load(text) != wanted:
            raise ParameterError(
                f"{path}: {'.'.join(names)} cannot be set without changing something else (an alias?); "
                f"write {json.dumps(value)} there yourself"
            )
    return text


def _with_value(content: Any, names: list[str], value: Any) -> Any:
    """Return the file's content with another value."""
    if not names:
        return value
    changed = copy.copy(content) if content is not None else {}
    key: Any = int(names[0]) if isinstance(content, list) else names[0]
    known = isinstance(content, list) or key in changed
    changed[key] = _with_value(changed[key] if known else None, names[1:], value)
    return changed


def _edited(text: str, names: list[str], value: Any) -> str:
    node: Node = YAML(typ="safe", pure=True).compose(text)
    for place, name in enumerate(names):
        inner = _child(node, name)
        if inner is None:
            for missing in reversed(names[place + 1 :]):
                value = {missing: value}
            return _inserted(text, node, name, _flow(value))
        node = inner
    return text[: node.start_mark.index] + _flow(value) + text[_end(node) :]


def _end(node: Node) -> int:
    """Return where a node ends; the mark of a block mapping or list is behind the comments that follow it."""
    if isinstance(node, MappingNode | SequenceNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _child(node: Node, name: str) -> Node | None:
    if isinstance(node, SequenceNode):
        found: Node = node.value[int(name)]
        return found
    pairs = node.value if isinstance(node, MappingNode) else []
    return next((value for key, value in pairs if key.value == name), None)


def _inserted(text: str, node: Node, name: str, value: str) -> str:
    """Return the text with a new key at the end of a flow mapping, or after a line of a block mapping."""
    if not isinstance(node, MappingNode):
        raise ParameterError(f"{name} cannot be added to {text[node.start_mark.index : node.end_mark.index]!r}")
    if node.flow_style:
        place = node.value[-1][1].end_mark.index if node.value else node.start_mark.index + 1
        return f"{text[:place]}{', ' if node.value else ''}{name}: {value}{text[place:]}"
    first = node.value[0][0].start_mark
    indent, newline = " " * first.column, "\r\n" if "\r\n" in text else "\n"
    ends = [one.end_mark for _, one in node.value if one.start_mark.line == one.end_mark.line]
    if not ends:
        return f"{text[: first.index]}{name}: {value}{newline}{indent}{text[first.index :]}"
    # Behind the comment of that line, if it has one.
    found = re.compile(r"\r?\n|$").search(text, ends[-1].index)
    place = found.start() if found else len(text)
    return f"{text[:place]}{newline}{indent}{name}: {value}{text[place:]}"


def _flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flow, value))}]"
    plain = isinstance(value, str) and re.fullmatch(r"[a-z][a-z0-9_-]*", value) and _reads_as_text(value)
    return str(value) if plain else json.dumps(value, ensure_ascii=False)


def _reads_as_text(value: str) -> bool:
    return isinstance(YAML(typ="safe").load(value), str)
