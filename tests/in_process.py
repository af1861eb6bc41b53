"""Files scored in the test's own process: `FileScorer` without its worker."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unroll.config.decoding import DecodingConfig
from unroll.inference.bundle import load_bundle
from unroll.inference.scored import combined
from unroll.inference.scorer import Scorer
from unroll.inference.stream import score_stream
from unroll.inference.writing import METADATA_KEY


@dataclass(frozen=True)
class Result:
    """What came out of a file: counts, predictions, and the rows that cannot be scored, if there are any."""

    found: Mapping[str, Any]
    output: pa.Table
    quarantine: pa.Table | None

    @property
    def metadata(self) -> dict[str, Any]:
        """What the predictions tell of themselves."""
        return json.loads(self.output.schema.metadata[METADATA_KEY])

    @property
    def reasons(self) -> dict[Any, str]:
        """Why rows cannot be scored, by id."""
        return {row["row_id"]: row["reason"] for row in self.quarantine.to_pylist()} if self.quarantine else {}


def score(
    model: Path,
    source: Path,
    *,
    threads: int = 2,
    batch_rows: int = 512,
    decoding: DecodingConfig | None = None,
    max_bad_share: float = 1.0,
) -> Result:
    output, quarantine = (source.with_name(f".{source.name}.{end}") for end in ("scored", "quarantined"))
    quarantine.unlink(missing_ok=True)
    found = score_stream(
        Scorer(load_bundle(model), batch_rows, decoding),
        threads,
        source,
        output,
        quarantine=quarantine,
        metadata={"source": source.name},
    )
    found = combined(source, [found], max_bad_share)
    aside = pq.read_table(pa.BufferReader(quarantine.read_bytes())) if quarantine.exists() else None
    return Result(found, pq.read_table(pa.BufferReader(output.read_bytes())), aside)
