"""Stage `validate`: a dataset's table against its expectations."""

from unroll import files, params, paths
from unroll.datasets import expectations


def run(name: str) -> None:
    """Checks data/raw/NAME; writes verdict.json and Data Docs to data/validation/NAME.

    Raises:
        ExpectationError: An expectation fails; verdict and docs are written nonetheless.
    """
    import pyarrow.parquet as pq

    dataset = params.load_section("datasets", name)
    if isinstance(dataset, params.PriceDataset):
        from unroll.datasets import price_expectations

        table = pq.read_table(paths.raw(name) / "prices.parquet")
        frames, checks = price_expectations.expectations(table, name, dataset.expectations)
    else:
        from unroll.datasets import digit_expectations

        table = pq.read_table(paths.raw(name) / "digits.parquet")
        frames, checks = digit_expectations.expectations(table, name, dataset.expectations)
    with files.replacing(paths.validation(name)) as folder:
        outcomes = expectations.validate(frames, checks, folder / "docs")
        expectations.write_verdict(folder / "verdict.json", table.num_rows, outcomes)
    expectations.require(name, outcomes)
    page = paths.validation(name) / "docs" / "index.html"
    print(f"{name}: {table.num_rows:,} rows keep all {len(outcomes)} expectations; see {page}")
