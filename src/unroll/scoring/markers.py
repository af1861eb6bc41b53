"""Markers in the output folder: which version of which input file was dealt with, and what became of it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unroll.errors import ParameterError
from unroll.files import write_json
from unroll.scoring.names import safe_name
from unroll.scoring.storage import Storage, StoredFile

FOLDER = "_scored"
"""Below the output. Spark, DuckDB, pyarrow and our own readers skip names with a leading underscore."""
_OWNER = "_inbox.json"


@dataclass(frozen=True)
class Rescore:
    """Which files are scored again although they are done.

    Attributes:
        model_version: `NAME@SHA12` of the present model; what it has dealt with stays.
        since: Only files that were dealt with since then.
    """

    model_version: str
    since: datetime

    def includes(self, marker: Mapping[str, Any]) -> bool:
        """Return whether the file of a marker is scored again."""
        return marker["model_version"] != self.model_version and datetime.fromisoformat(marker["when"]) >= self.since


class Markers:
    """The markers `_scored/NAME@VERSION.json` below an output, listed once.

    A file is done if the only marker of its name is that of its version. Several markers of a name are left by jobs
    that ran side by side on two versions of it, so its predictions may be those of either: it is scored once more.

    Args:
        output: Folder of predictions.
        inbox: The folder that they belong to.

    Attributes:
        rescore: Which files are scored again; None for none.

    Raises:
        ParameterError: The output has the predictions of another inbox, whose files may have the same names.
    """

    def __init__(self, output: Storage, inbox: Storage) -> None:
        self.rescore: Rescore | None = None
        self._output = output
        self._owner = {"inbox": inbox.address}
        self._versions: dict[str, set[str]] = defaultdict(set)
        names = output.names(FOLDER)
        self._is_new = _OWNER not in names
        owner = None if self._is_new else output.read_json(f"{FOLDER}/{_OWNER}")
        if owner and owner != self._owner:
            raise ParameterError(
                f"{output.address} has the predictions of {owner.get('inbox')}; give {inbox.address} an output of its "
                f"own, or delete {output.address}/{FOLDER}/{_OWNER} if the inbox was moved"
            )
        for marker in names:
            name, at, version = marker.removesuffix(".json").rpartition("@")
            if at and marker.endswith(".json"):
                self._versions[name].add(version)

    def is_done(self, file: StoredFile) -> bool:
        """Return whether this version of the file was scored or rejected, and is not to be scored again."""
        name = safe_name(file.name)
        if self._versions.get(name) != {file.version}:
            return False
        if self.rescore is None:
            return True
        marker = self._output.read_json(_path(name, file.version))
        return marker is not None and not self.rescore.includes(marker)

    def renew(self, file: StoredFile, sha256: str, folder: Path) -> bool:
        """Mark a new version of a file whose content was scored before; return whether it was.

        A rejected file is not renewed: the next job tries it again if it was touched. Nor is one to be scored again.
        """
        name = safe_name(file.name)
        old = [self._output.read_json(_path(name, version)) for version in self._versions.get(name, ())]
        if not old or any(one is None or (one.get("sha256"), one.get("state")) != (sha256, "scored") for one in old):
            return False
        if self.rescore and any(map(self.rescore.includes, filter(None, old))):
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
        """Write the marker of a file through a folder on this machine. This is the last step."""
        if self._is_new:
            write_json(folder / "inbox.json", self._owner)
            self._output.put(folder / "inbox.json", f"{FOLDER}/{_OWNER}")
            self._is_new = False
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(folder / "marker.json", {**content, "version": file.version, "when": now})
        self._output.put(folder / "marker.json", _path(safe_name(file.name), file.version))

    def _remove(self, name: str, versions: set[str]) -> None:
        for version in versions:
            self._output.remove(_path(name, version))


def _path(name: str, version: str) -> str:
    return f"{FOLDER}/{name}@{version}.json"
