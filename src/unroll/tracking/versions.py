"""A version of a registered model, as unroll's tags tell it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

SHA256 = "unroll.model_sha256"
"""Tag of the graph's checksum, by which a version is known again."""


@dataclass(frozen=True)
class Version:
    """One version of a registered model.

    Attributes:
        name: Of the registered model: the task's.
        version: Its number.
        run_id: The MLflow run that made it; empty where it was registered by other means.
        aliases: Which point at it now.
        tags: By unroll: `unroll.experiment`, `.model_version`, `.model_sha256`, `.git_commit`, `.data`, `.gate.…`.
        created: When it was registered.
    """

    name: str
    version: str
    run_id: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str] = field(repr=False)
    created: datetime

    @property
    def experiment(self) -> str:
        """Name of the experiment in params.yaml."""
        return self.tags.get("unroll.experiment", "")

    @property
    def model_version(self) -> str:
        """`NAME@SHA12`, as it stands beside each prediction."""
        return self.tags.get("unroll.model_version", "")

    @property
    def model_sha256(self) -> str:
        """SHA-256 of the graph."""
        return self.tags.get(SHA256, "")

    @property
    def data(self) -> dict[str, str]:
        """DVC's md5 of the data that it was trained on, by path."""
        found = json.loads(self.tags.get("unroll.data", "{}"))
        return {str(path): str(md5) for path, md5 in found.items()}

    @property
    def place(self) -> str:
        """Of its files among the run's artifacts."""
        return f"versions/{self.model_sha256[:12]}"
