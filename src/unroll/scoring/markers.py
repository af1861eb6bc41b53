"""Markers in the output folder: which version of which input file was dealt with, and what became of it."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unroll.files import write_json
from unroll.scoring.names import safe_name
from unroll.scoring.storage import Storage, StoredFile

FOLDER = "_scored"
"""Below the output. Spark, DuckDB, pyarrow and our own readers skip names with a leading underscore."""


class Markers:
    """The markers `_scored/NAME@VERSION.json` below an output, listed once.

    A file is done if the only marker of its name is that of its version. Several markers of a name are left by jobs
    that ran side by side on two versions of it, so its predictions may be those of either: it is scored once more.
    """

    def __init__(self, output: Storage) -> None:
        self._output = output
        self._versions: dict[str, set[str]] = defaultdict(set)
        for found in output.files(FOLDER):
            name, at, version = found.name.removeprefix(f"{FOLDER}/").removesuffix(".json").rpartition("@")
            if at and found.name.endswith(".json"):
                self._versions[name].add(version)

    def is_done(self, file: StoredFile) -> bool:
        """Return whether this version of the file was scored or rejected."""
        return self._versions.get(safe_name(file.name)) == {file.version}

    def renew(self, file: StoredFile, sha256: str, folder: Path) -> bool:
        """Mark a new version of a file whose content was scored before; return whether it was.

        A rejected file is not renewed: touching it has it tried again.
        """
        name = safe_name(file.name)
        old = [self._output.read_json(_path(name, version)) for version in self._versions.get(name, ())]
        if not old or any(one is None or (one["sha256"], one["state"]) != (sha256, "scored") for one in old):
            return False
        self.put(file, old[0] or {}, folder)
        self._remove(name, self._versions[name] - {file.version})
        return True

    def remove(self, file: StoredFile) -> None:
        """Remove all markers of a file.

        This comes before its outputs are touched: a job that is killed in between leaves a file without a marker, and
        the next job scores it, even if it has become again what a marker said.
        """
        name = safe_name(file.name)
        self._remove(name, self._versions.get(name, set()))

    def put(self, file: StoredFile, content: Mapping[str, Any], folder: Path) -> None:
        """Write the marker of a file, by way of a folder of this machine. This comes last."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(folder / "marker.json", {**content, "version": file.version, "when": now})
        self._output.put(folder / "marker.json", _path(safe_name(file.name), file.version))

    def _remove(self, name: str, versions: set[str]) -> None:
        for version in versions:
            self._output.remove(_path(name, version))


def _path(name: str, version: str) -> str:
    return f"{FOLDER}/{name}@{version}.json"
