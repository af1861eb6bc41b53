"""Stage `validate`: a dataset's table against its expectations."""

from pathlib import Path

import pyarrow as pa

from unroll import files, params, paths
from unroll.datasets import expectations
from unroll.errors import FormatError


def run(name: str) -> None:
    """Checks data/raw/NAME; writes verdict.json and Data Docs to data/validation/NAME.

    Raises:
        DataError: The table is not there, or is no Parquet.
        ExpectationError: An expectation fails; verdict and docs are written nonetheless.
    """
    dataset = params.load_section("datasets", name)
    if isinstance(dataset, params.PriceDataset):
        from unroll.datasets import price_expectations

        table = _read(paths.raw(name) / "prices.parquet", name)
        frames, checks = price_expectations.expectations(table, name, dataset.expectations)
    else:
        from unroll.datasets import digit_expectations

        table = _read(paths.raw(name) / "digits.parquet", name)
        frames, checks = digit_expectations.expectations(table, name, dataset.expectations)
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
