"""Stage `ingest`: a dataset's sources, whatever their form, become one typed Parquet table."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from unroll import config, files, paths
from unroll.domains.articles import dataset as articles
from unroll.domains.digits import dataset as digits
from unroll.domains.pairs import dataset as pairs
from unroll.domains.prices import dataset as prices
from unroll.domains.prices import scale as price_scale
from unroll.domains.recordings import dataset as recordings
from unroll.domains.tagged import dataset as tagged
from unroll.domains.texts import dataset as texts
from unroll.domains.tunes import dataset as melodies
from unroll.sources import fetch as sources

_NUMBERS = {"use_dictionary": ["split"], "row_group_size": 8192}
"""How lists of numbers are written: a dictionary of them costs time and, with zstd, hardly saves space."""
_WRITING: dict[str, dict[str, Any]] = {"digits": _NUMBERS, "recordings": _NUMBERS}


def run(name: str) -> None:
    """Reads the sources of dataset `name`; writes its table and ingest.json to data/raw/NAME."""
    import pyarrow.parquet as pq

    dataset = config.load_section("datasets", name)
    for source in dataset.sources:
        if isinstance(source, config.PathSource) and not (source.sha256 or Path(source.path).is_relative_to(paths.OWN)):
            print(f"{name}: DVC does not watch {source.path}; move it below {paths.OWN} to have changes ingested")
    with tempfile.TemporaryDirectory(prefix="unroll-ingest-") as work, files.replacing(paths.raw(name)) as folder:
        folder.mkdir()
        fetched = [sources.fetch(one, Path(work) / str(number)) for number, one in enumerate(dataset.sources)]
        table, records = _read(dataset, fetched)
        record = {"kind": dataset.kind, "sources": records, "rows": table.num_rows}
        if isinstance(dataset, config.PriceDataset) and dataset.rescale_close:
            table, record["rescaled_close"] = price_scale.mend(table)
        writing = _WRITING.get(dataset.kind, {})
        pq.write_table(table, folder / paths.table(name, dataset.kind).name, compression="zstd", **writing)
        files.write_json(folder / "ingest.json", record)
    print(f"{name}: {table.num_rows:,} rows of {', '.join(table.column_names)} in {paths.raw(name)}")
    for line in _worth_telling(record):
        print(f"{name}: {line}")


def _read(dataset: config.Dataset, fetched: Sequence[sources.Fetched]) -> tuple[pa.Table, list[dict[str, Any]]]:
    """The table of a dataset, and a record of each source."""
    match dataset:
        case config.PriceDataset():
            return prices.read_sources(fetched, dataset.ticker)
        case config.DigitDataset():
            return digits.read_sources(fetched)
        case config.TextDataset():
            return texts.read_sources(fetched, dataset)
        case config.PairDataset():
            return pairs.read_sources(fetched, dataset)
        case config.ArticleDataset():
            return articles.read_sources(fetched, dataset)
        case config.RecordingDataset():
            return recordings.read_sources(fetched, dataset)
        case config.MelodyDataset():
            return melodies.read_sources(fetched, dataset)
        case config.TaggedDataset():
            return tagged.read_sources(fetched, dataset)


def _worth_telling(record: dict[str, Any]) -> list[str]:
    """What was changed or left out, a line each."""
    lines = [
        f"close of {mended['ticker']} divided by {mended['ratio']:.4g} "
        f"from {mended['first']} to {mended['last']} ({mended['rows']} rows)"
        for mended in record.get("rescaled_close", [])[:3]
    ]
    left_out = [one for source in record["sources"] for one in source.get("left_out", [])]
    if left_out:
        first = left_out[0]
        lines.append(
            f"tunes left out because they could not be parsed: {len(left_out):,} (ingest.json names them), "
            f"first: {first['file']}, X:{first['tune']}: {first['why']}"
        )
    if any(source.get("scheme") == "IOB1" for source in record["sources"]):
        lines.append("tags were in IOB1 and are in IOB2 now")
    return lines
