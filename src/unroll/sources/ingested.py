"""What reading the sources of a dataset returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class Ingested:
    """A dataset as a typed table.

    Attributes:
        table: All rows.
        sources: What was read from each source, for ingest.json: no times, no absolute paths.
        changes: Changes of values, by name, for ingest.json.
        notes: Sentences for the terminal about what was changed or left out.
    """

    table: pa.Table
    sources: Sequence[Mapping[str, Any]]
    changes: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
