"""Stage `validate`: a dataset's table against its expectations."""

from pathlib import Path

import pyarrow as pa

from unroll import files, paths
from unroll.config.reading import load_section
from unroll.domains import domain_of
from unroll.errors import FormatError
from unroll.validation import expectations


def run(name: str) -> None:
    """Checks data/raw/NAME; writes verdict.json and Data Docs to data/validation/NAME.

    Raises:
        DataError: The table is not there, or is no Parquet.
        ExpectationError: An expectation fails; verdict and docs are written nonetheless.
    """
    dataset = load_section("datasets", name)
    table = _read(paths.table(name, dataset.domain), name)
    frames, checks = domain_of(dataset.domain).part("expectations").expectations(table, name, dataset)
    with files.replacing(paths.validation(name)) as folder:
        outcomes = expectations.validate(frames, checks, folder / "docs")
        expectations.write_verdict(folder / "verdict.json", table.num_rows, outcomes)
    expectations.require(name, outcomes)
    page = paths.validation(name) / "docs" / "index.html"
    print(f"{name}: {table.num_rows:,} rows keep all {len(outcomes)} expectations; see {page}")


def _read(path: Path, name: str) -> pa.Table:
    import pyarrow.parquet as pq

    try:
        return pq.read_table(files.require(path, f"ingest {name}"))
    except pa.ArrowException as error:
        told = " ".join(str(error).split())[:200]
        raise FormatError(f"{path} is no readable Parquet file ({told}); run again: unroll ingest {name}") from None
