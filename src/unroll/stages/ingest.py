"""Stage `ingest`: a dataset's sources, whatever their form, become one typed Parquet table."""

import tempfile
from pathlib import Path

from unroll import files, params, paths
from unroll.datasets import sources


def run(name: str) -> None:
    """Reads the sources of dataset `name`; writes its table and ingest.json to data/raw/NAME."""
    import pyarrow.parquet as pq

    dataset = params.load_section("datasets", name)
    for source in dataset.sources:
        if isinstance(source, params.PathSource) and not (source.sha256 or Path(source.path).is_relative_to(paths.OWN)):
            print(f"{name}: DVC does not watch {source.path}; move it below {paths.OWN} to have changes ingested")
    with tempfile.TemporaryDirectory(prefix="unroll-ingest-") as work, files.replacing(paths.raw(name)) as folder:
        folder.mkdir()
        fetched = [sources.fetch(one, Path(work) / str(number)) for number, one in enumerate(dataset.sources)]
        if isinstance(dataset, params.PriceDataset):
            from unroll.datasets import price_scale, prices

            table, records = prices.read_sources(fetched, dataset.ticker)
            record = {"kind": dataset.kind, "sources": records, "rows": table.num_rows}
            if dataset.rescale_close:
                table, record["rescaled_close"] = price_scale.mend(table)
            pq.write_table(table, folder / "prices.parquet", compression="zstd")
        else:
            from unroll.datasets import digits

            table, records = digits.read_sources(fetched)
            record = {"kind": dataset.kind, "sources": records, "rows": table.num_rows}
            # A dictionary of pixels costs time and, with zstd, hardly saves space.
            pq.write_table(
                table, folder / "digits.parquet", compression="zstd", use_dictionary=["split"], row_group_size=8192
            )
        files.write_json(folder / "ingest.json", record)
    print(f"{name}: {table.num_rows:,} rows of {', '.join(table.column_names)} in {paths.raw(name)}")
    for mended in record.get("rescaled_close", [])[:3]:
        print(
            f"{name}: close of {mended['ticker']} divided by {mended['ratio']:.4g} "
            f"from {mended['first']} to {mended['last']} ({mended['rows']} rows)"
        )
