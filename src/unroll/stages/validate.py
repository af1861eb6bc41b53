"""Stage `validate`: check a dataset's table against its expectations."""

import pyarrow as pa

from unroll import files, paths
from unroll.config.reading import load_section
from unroll.domains import domain_of
from unroll.errors import FormatError


def run(name: str) -> None:
    """Check the table in data/raw/NAME; write verdict.json and Data Docs to data/validation/NAME.

    Raises:
        DataError: The table does not exist, or is not what the ingest stage writes.
        ExpectationError: An expectation fails; verdict and docs are written nonetheless.
    """
    # Late: importing Great Expectations takes seconds.
    from unroll.validation import suites

    dataset = load_section("datasets", name)
    table = _read(name, dataset.domain)
    of_domain = domain_of(dataset.domain).part("expectations").make_suites(table, name, dataset)
    with files.replacing(paths.validation(name)) as folder:
        outcomes = suites.run_suites(of_domain, folder / "docs")
        suites.write_verdict(folder / "verdict.json", table.num_rows, outcomes)
    suites.require_passed(name, outcomes)
    page = paths.validation(name) / "docs" / "index.html"
    print(f"{name}: {table.num_rows:,} rows pass all {len(outcomes)} expectations; see {page}")


def _read(name: str, domain: str) -> pa.Table:
    import pyarrow.parquet as pq

    path = files.require(paths.table(name, domain), f"ingest {name}")
    try:
        return pq.read_table(path)
    except pa.ArrowException as error:
        reason = " ".join(str(error).split())[:200]
        raise FormatError(
            f"{path} is not a readable Parquet file ({reason}); run again: unroll ingest {name}"
        ) from None
