"""What was scored of a file, chunk by chunk, becomes one result."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unroll.errors import DataError

if TYPE_CHECKING:
    from unroll.inference.reference import Counts

_SUMS = ("rows_in", "rows_scored", "rows_quarantined", "rows_truncated")


@dataclass(frozen=True)
class Scored:
    """A file's predictions.

    Attributes:
        source: The file.
        output: Parquet file of its predictions.
        quarantine: Parquet file of row_id, text (if rows are texts) and reason; None if every row was scored.
        model_version: `NAME@SHA12` of the model.
        rows_in: Rows of the file, each either scored or quarantined.
        rows_scored: Rows of `output`.
        rows_quarantined: Rows of `quarantine`.
        rows_truncated: Scored rows that were truncated: the model has read only their beginning.
        first_fault: The first quarantined row and its reason.
        counts: Counts from which drift is computed; empty if the bundle has no reference.
    """

    source: Path
    output: Path
    quarantine: Path | None
    model_version: str
    rows_in: int
    rows_scored: int
    rows_quarantined: int
    rows_truncated: int
    first_fault: str
    counts: "Counts"

    def notes(self) -> list[str]:
        """Return further remarks for the report, one per line."""
        found = []
        if self.quarantine:
            found.append(f"{self.rows_quarantined:,} rows quarantined in {self.quarantine}, first {self.first_fault}")
        if self.rows_truncated:
            found.append(f"{self.rows_truncated:,} rows truncated to the length that the model reads")
        return found


def combined(source: object, found: Sequence[Mapping[str, Any]], max_bad_share: float) -> dict[str, Any]:
    """Add up what `stream.score_stream` returned for the chunks of a file, in their order.

    Returns:
        The fields of `Scored` except the paths.

    Raises:
        DataError: Every row, or too large a share of the rows, cannot be scored.
    """
    total: dict[str, Any] = {name: sum(one[name] for one in found) for name in _SUMS}
    first_fault = next((one["first_fault"] for one in found if one["first_fault"]), "")
    rows_in, quarantined = total["rows_in"], total["rows_quarantined"]
    set_aside = sum(one["rows_set_aside"] for one in found)
    if not total["rows_scored"]:
        raise DataError(f"{source}: none of {rows_in:,} rows can be scored; the first is {first_fault}")
    if quarantined - set_aside > max_bad_share * (rows_in - set_aside):
        raise DataError(
            f"{source}: {quarantined:,} of {rows_in:,} rows cannot be scored, more than the share of "
            f"{max_bad_share:g} that may be quarantined; the first is {first_fault}"
        )
    counts = _added([one["counts"] for one in found])
    return {"model_version": found[0]["model_version"], **total, "first_fault": first_fault, "counts": counts}


def join(parts: Iterable[Any], output: Path, total: Mapping[str, Any]) -> None:
    """Write the rows of Parquet files, given as paths or buffers, into one file, with the metadata of the first one.

    Args:
        parts: Predictions, or quarantined rows, of the chunks that have some.
        output: File to write.
        total: What `combined` returns, for the counts in the metadata.
    """
    import pyarrow.parquet as pq

    from unroll.inference.writing import RowFile, read_metadata, row_counts

    metadata: dict[str, Any] = {}
    with RowFile(output) as file:
        for part in parts:
            with pq.ParquetFile(part) as rows:
                metadata = metadata or read_metadata(rows.schema_arrow)
                for group in range(rows.num_row_groups):
                    for batch in rows.read_row_group(group, use_threads=False).combine_chunks().to_batches():
                        file.write(batch)
        file.finish(metadata | row_counts(total))


def _added(counts: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Add up counts of drift, by side and column: lists of cells, or categories."""
    total: dict[str, dict[str, Any]] = {}
    for one in counts:
        for side, columns in one.items():
            sums = total.setdefault(side, {})
            for name, new in columns.items():
                if isinstance(new, dict):
                    sums[name] = dict(Counter(sums.get(name, {})) + Counter(new))
                else:
                    sums[name] = [a + b for a, b in zip(sums[name], new, strict=True)] if name in sums else new
    return total
