"""Tables of text, written as other tools write them by default."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

Columns = Mapping[str, Sequence[str]]


def _csv(columns: Columns, path: Path, **options: object) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, **options)
        writer.writerows([list(columns), *zip(*columns.values(), strict=True)])


def _duckdb(columns: Columns, path: Path, options: str) -> None:
    rows = duckdb.from_arrow(pa.table(columns))
    rows.query("rows", f"COPY rows TO '{path}' ({options})")


def _json_lines(columns: Columns, path: Path) -> None:
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


WRITERS: Mapping[str, Callable[[Columns, Path], None]] = {
    "csv.csv": _csv,
    "csv_all.csv": lambda columns, path: _csv(columns, path, quoting=csv.QUOTE_ALL),
    "excel.csv": lambda columns, path: _csv(columns, path, delimiter=";", lineterminator="\r\n"),
    "csv.tsv": lambda columns, path: _csv(columns, path, delimiter="\t"),
    "pandas.csv": lambda columns, path: pd.DataFrame(columns).to_csv(path, index=False),
    "pandas.tsv": lambda columns, path: pd.DataFrame(columns).to_csv(path, index=False, sep="\t"),
    "polars.csv": lambda columns, path: pl.DataFrame(columns).write_csv(path),
    "polars.tsv": lambda columns, path: pl.DataFrame(columns).write_csv(path, separator="\t"),
    "polars_all.csv": lambda columns, path: pl.DataFrame(columns).write_csv(path, quote_style="always"),
    "arrow.csv": lambda columns, path: pa_csv.write_csv(pa.table(columns), path),
    "duckdb.csv": lambda columns, path: _duckdb(columns, path, "FORMAT csv"),
    "duckdb.tsv": lambda columns, path: _duckdb(columns, path, "FORMAT csv, DELIMITER '\t'"),
    "pandas.parquet": lambda columns, path: pd.DataFrame(columns).to_parquet(path),
    "polars.parquet": lambda columns, path: pl.DataFrame(columns).write_parquet(path),
    "arrow.parquet": lambda columns, path: pq.write_table(pa.table(columns), path),
    "duckdb.parquet": lambda columns, path: _duckdb(columns, path, "FORMAT parquet"),
    "json.jsonl": _json_lines,
    "polars.jsonl": lambda columns, path: pl.DataFrame(columns).write_ndjson(path),
    "pandas.json": lambda columns, path: pd.DataFrame(columns).to_json(path, orient="records"),
    "duckdb.jsonl": lambda columns, path: _duckdb(columns, path, "FORMAT json"),
    "duckdb.json": lambda columns, path: _duckdb(columns, path, "FORMAT json, ARRAY true"),
}
"""File names, from which the forms follow, and their writers."""
TABLES = [name for name in WRITERS if not name.endswith(("jsonl", "json"))]
