"""Time series as one typed table: series string, time timestamp[s], and float64 columns of numbers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from unroll.domains.series.config import SeriesDataset
from unroll.domains.series.table import by_series, read_series, steps_of
from unroll.domains.series.times import frequency_of
from unroll.errors import FormatError
from unroll.features.text_files import files_of
from unroll.sources.ingested import Ingested

if TYPE_CHECKING:
    from unroll.sources.fetch import Fetched

ENDINGS = (".csv", ".tsv", ".txt", ".parquet", ".pq")


def read_dataset(fetched: Sequence["Fetched"], section: SeriesDataset) -> Ingested:
    """Read every file of every source into one table, sorted by series and time.

    Raises:
        FormatError: As `read_series`; or files have other columns, or the same series.
        DataError: The times of a series are not regular.
    """
    parts: list[pa.Table] = []
    records: list[dict[str, Any]] = []
    notes: list[str] = []
    for source in fetched:
        described = []
        for path in files_of(source.path, ENDINGS):
            part, beyond = read_series(path, section)
            if parts and part.column_names != parts[0].column_names:
                raise FormatError(
                    f"{path} has the columns {', '.join(part.column_names[2:])}, files before it "
                    f"{', '.join(parts[0].column_names[2:])}; name those to read in `value_columns`"
                )
            parts.append(part)
            described.append({"file": path.name, "rows": len(part), **({"out_of_range": beyond} if beyond else {})})
            notes += [f"{path.name}: {count:,} values of {title} are out of range" for title, count in beyond.items()]
        records.append({**source.record, "files": described})
    table = pa.concat_tables(parts).sort_by([("series", "ascending"), ("time", "ascending")])
    rows = by_series(table)
    if len(rows) < sum(len(by_series(part)) for part in parts):
        raise FormatError("a series is in two files; join the files, or give the series names of their own")
    frequency = frequency_of([one["time"].to_numpy().astype("datetime64[s]") for one in rows.values()])
    gaps = {}
    notes.insert(0, f"{len(rows)} series, {frequency} from row to row")
    for name, one in rows.items():
        steps = int(steps_of(name, one, frequency)[-1]) + 1
        if steps > len(one):
            gaps[name] = steps - len(one)
            notes.append(f"{name} has no row for {gaps[name]:,} of {steps:,} times")
    return Ingested(table, records, {"frequency": str(frequency), "gaps": gaps}, notes)
