"""Rows of JSON files: an object on each line (JSONL), or one array of objects."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unroll.errors import FormatError
from unroll.sources.forms import is_json_array
from unroll.sources.lines import iter_lines


def json_objects(path: Path, encoding: str = "utf-8") -> Iterator[tuple[str, dict[str, Any], int]]:
    """Yield where each object is (`line 2`, or `object 2` of an array), the object, and its size in characters.

    Raises:
        FormatError: A line or the file is not JSON, something is not an object, or a key occurs twice.
    """
    if is_json_array(path):
        text = "".join(iter_lines(path, encoding, json=True))
        rows = _parsed(text, str(path))
        for number, row in enumerate(rows, start=1):
            yield f"object {number:,}", _required(row, f"{path}, object {number:,}"), len(text) // len(rows)
        return
    for number, line in enumerate(iter_lines(path, encoding), start=1):
        if line.strip():
            where = f"line {number:,}"
            yield where, _required(_parsed(line, f"{path}, {where}"), f"{path}, {where}"), len(line)


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}: not valid JSON: {error}") from None


def _required(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise FormatError(f"{where}: found {json.dumps(row)[:60]}, expected a JSON object")
    return row


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in set(names):
        if names.count(name) > 1:
            raise ValueError(f"duplicate key {name[:60]!r}; keep one of them")
    return dict(pairs)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON; write null")
