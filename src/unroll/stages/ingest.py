"""Stage `ingest`: read the sources of a dataset into one typed Parquet table."""

from pathlib import Path

import pyarrow as pa

from unroll import files, paths
from unroll.config.reading import load_section
from unroll.config.sources import PathSource, settings_of
from unroll.domains import domain_of
from unroll.sources.fetch import fetch
from unroll.sources.ingested import Ingested


def run(name: str) -> None:
    """Read the sources of dataset `name`; write its table and ingest.json to data/raw/NAME."""
    section = load_section("datasets", name)
    for source in section.sources:
        if isinstance(source, PathSource) and not (source.sha256 or Path(source.path).is_relative_to(paths.OWN)):
            print(f"{name}: DVC does not watch {source.path}; move it below {paths.OWN} so that changes are ingested")
    fetched = [fetch(source) for source in section.sources]
    ingested: Ingested = domain_of(section.domain).part("dataset").read_dataset(fetched, section)
    with files.replacing(paths.raw(name)) as folder:
        folder.mkdir()
        _write_table(ingested.table, folder / paths.table(name, section.domain).name)
        record = {"domain": section.domain, "sources": ingested.sources, "rows": ingested.table.num_rows}
        settings = settings_of(section)
        files.write_json(
            folder / "ingest.json", record | ({"settings": settings} if settings else {}) | dict(ingested.changes)
        )
    columns = ", ".join(ingested.table.column_names)
    print(f"{name}: {ingested.table.num_rows:,} rows of {columns} in {paths.raw(name)}")
    for note in ingested.notes:
        print(f"{name}: {note}")


def _write_table(table: pa.Table, path: Path) -> None:
    import pyarrow.parquet as pq

    if any(pa.types.is_list(field.type) or pa.types.is_fixed_size_list(field.type) for field in table.schema):
        # A dictionary of the numbers in lists costs time and saves hardly any space.
        pq.write_table(table, path, compression="zstd", use_dictionary=["split"], row_group_size=8192)
    else:
        pq.write_table(table, path, compression="zstd")
