"""Read params.yaml strictly, and report all faults at once."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError

from unroll import paths
from unroll.config.params import DATASET, TASK, Params
from unroll.config.section import Name
from unroll.config.tuning import ExperimentRow
from unroll.domains import DOMAINS
from unroll.errors import ParameterError

SectionName = Literal["datasets", "tasks", "experiments"]
_SECTIONS: Mapping[str, Any] = {"datasets": DATASET, "tasks": TASK, "experiments": ExperimentRow}


def load_all(path: Path = paths.PARAMS) -> Params:
    """Read the whole file.

    Raises:
        ParameterError: The file is missing, is not YAML, or has faults, all of which are listed.
    """
    content = _read(path)
    faults = [
        fault
        for section in ("tasks", "experiments")
        for name, entry in _entries(content, section).items()
        for fault in _bad_references(content, section, name, entry)
    ]
    parsed: Params = _validate(Params, content, path, "", faults)
    return parsed


def load_section(section: SectionName, name: str, path: Path = paths.PARAMS) -> Any:
    """Read one entry, as in `load_section("tasks", "digit-rows")`.

    Raises:
        ParameterError: The file or the entry is missing, or the entry has faults, all of which are listed.
    """
    content = _read(path)
    entries = _entries(content, section)
    if name not in entries:
        raise ParameterError(f"{path}: {section}.{name} is missing; {section} has {', '.join(entries) or 'no entries'}")
    _validate(dict[Name, Any], {name: None}, path, section, [])
    faults = _bad_references(content, section, name, entries[name])
    return _validate(_SECTIONS[section], entries[name], path, f"{section}.{name}", faults)


def entry_names(section: SectionName, path: Path = paths.PARAMS) -> list[str]:
    """Return the names of a section's entries, in the order of the file.

    Raises:
        ParameterError: The file or the section is missing.
    """
    content = _read(path)
    if not isinstance(content.get(section), dict):
        raise ParameterError(f"{path}: {section} must be a mapping of names, not {content.get(section)!r}")
    return list(content[section])


def _read(path: Path) -> dict[str, Any]:
    try:
        # YAML 1.2, as DVC reads it: 5e-05 is a number.
        content = YAML(typ="safe").load(path)
    except FileNotFoundError:
        raise ParameterError(f"{path} does not exist; run unroll in the root of the repository") from None
    except DuplicateKeyError as error:
        mark = error.problem_mark
        raise ParameterError(f"{path}, line {mark.line + 1}: the key is already used above in this mapping") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ParameterError(f"{path} must be a mapping with the keys {', '.join(Params.model_fields)}")
    _require_text_keys(content, path)
    return content


def _require_text_keys(node: Any, path: Path) -> None:
    if isinstance(node, dict):
        for key, value in node.items():
            if not isinstance(key, str):
                raise ParameterError(f"{path}: the key {key} is a {type(key).__name__}; put it in quotes")
            _require_text_keys(value, path)


def _entries(content: Mapping[str, Any], section: str) -> dict[str, Any]:
    found = content.get(section)
    return found if isinstance(found, dict) else {}


def _validate(kind: Any, content: Any, path: Path, prefix: str, known_faults: list[str]) -> Any:
    faults = []
    try:
        # Strict JSON mode accepts lists as tuples and ISO strings as dates, but not "3" as a number.
        parsed = TypeAdapter(kind).validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        found = error.errors(include_url=False)
        # Pydantic also reports a list with a faulty entry as too short.
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
    """Describe a fault as `path: message (found VALUE)`."""
    parts: list[str] = [prefix] if prefix else []
    node, tags = content, _tags(content)
    for part in fault["loc"]:
        # Pydantic adds the value of a union's discriminator to the path, before the keys of that member.
        if part in tags:
            tags.remove(part)
            continue
        parts.append(str(part))
        try:
            node = node[part]
        except (KeyError, IndexError, TypeError):
            node = None
        tags = _tags(node)
    where = ".".join(parts)
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = "unknown parameter (misspelled?)"
    elif fault["type"] == "missing":
        return f"{where}: missing"
    if isinstance(fault["input"], dict | list):
        return f"{where}: {message}" if where else str(message)
    return f"{where}: {message} (found {fault['input']!r})"


def _tags(node: Any) -> list[Any]:
    return [node.get("domain"), node.get("kind")] if isinstance(node, dict) else []


def _bad_references(content: Mapping[str, Any], section: str, name: str, entry: Any) -> list[str]:
    """Check the names and domains that an entry refers to, in the raw content, which may have other faults."""
    key = {"experiments": "task", "tasks": "dataset"}.get(section)
    if key is None or not isinstance(entry, dict):
        return []
    where, domain, faults = f"{section}.{name}", entry.get("domain"), []
    if section == "experiments" and name == paths.RESULTS.name:
        faults.append(f"{where}: {paths.RESULTS} has the rows of the leaderboard; choose another name")
    if section == "tasks":
        domain = {one.name: one.table for one in DOMAINS}.get(domain or "")
    target, known = entry.get(key), _entries(content, f"{key}s")
    if not isinstance(target, str):
        return faults
    if target not in known:
        return [*faults, f"{where}.{key}: {key}s has no {target!r} (it has {', '.join(known) or 'no entries'})"]
    found = known[target].get("domain") if isinstance(known[target], dict) else None
    if domain and found != domain and any(one.name == found for one in DOMAINS):
        wanted = f"{where}: domain {entry['domain']!r} needs a {key} of domain {domain!r}"
        faults.append(f"{wanted}; {target!r} has {found!r}")
    return faults
