"""Expectations that tables of texts, pairs, articles, tunes, tagged sentences and recordings share."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, get_args

import pandas as pd
import pyarrow as pa
from great_expectations import expectations as gxe

from unroll.config.sources import RowDataset, Split

ROW = ("row_id", "text")
"""Columns that identify a row in messages."""
_SHOWN = 60
"""Characters of a row's text that are shown."""


def row_frame(table: pa.Table, texts: Iterable[str | None], contents: Iterable[Hashable]) -> pd.DataFrame:
    """Return a frame of one row for each row of a table.

    Args:
        table: With the columns row_id and split.
        texts: What identifies a row for the reader; its beginning is kept.
        contents: Equal values are duplicates.

    Returns:
        Columns row_id, split, text, and duplicate_of: the row_id of the first row of the same content, else null.
    """
    frame: pd.DataFrame = table.select(["row_id", "split"]).to_pandas()
    frame["text"] = [(text or "")[:_SHOWN] for text in texts]
    first: dict[Hashable, int] = {}
    origin = pd.Series([first.setdefault(content, row) for content, row in zip(contents, frame.row_id, strict=True)])
    frame["duplicate_of"] = origin.where(origin != frame.row_id)
    return frame


def text_frame(table: pa.Table) -> pd.DataFrame:
    """Return the `row_frame` of a table with one column text, with a column characters."""
    texts = table["text"].to_pylist()
    return row_frame(table, texts, texts).assign(characters=[len(text or "") for text in texts])


def row_expectations(frame: pd.DataFrame, lengths: Sequence[str], section: RowDataset, name: str) -> list[Any]:
    """Return the expectations of dataset `name` about a `row_frame`; `lengths` are columns that were added to it."""
    bounds, key = section.expectations, f"bound: `datasets.{name}.expectations"
    splits = sorted({source.split for source in section.sources if source.split})
    # Half a row keeps the share clear of rounding.
    unlike = max(0.0, 1 - bounds.max_duplicates - 0.5 / max(len(frame), 1))
    expectations = [
        gxe.ExpectTableRowCountToBeBetween(
            min_value=bounds.min_rows,
            description=f"at least {bounds.min_rows:,} rows",
            notes=f"{key}.min_rows`",
        ),
        gxe.ExpectColumnValuesToBeUnique(column="row_id", description="row_id is unique"),
        gxe.ExpectColumnValuesToBeInSet(
            column="split", value_set=list(get_args(Split)), description="split is train, valid or test"
        ),
        *(
            gxe.ExpectColumnValuesToBeBetween(
                column=column,
                min_value=1,
                max_value=bounds.max_length,
                description=f"1 to {bounds.max_length:,} {column.replace('_', ' ')}",
                notes=f"{key}.max_length`; a quotation mark that is never closed, or lost line ends?",
            )
            for column in lengths
        ),
        gxe.ExpectColumnValuesToBeNull(
            column="duplicate_of",
            mostly=unlike,
            description=f"at most {100 * bounds.max_duplicates:.4g} % of the rows repeat an earlier one",
            notes=f"{key}.max_duplicates`, 1 = 100 %",
        ),
    ]
    if splits:
        expectations += [
            gxe.ExpectColumnValuesToNotBeNull(column="split", description="split is never empty"),
            gxe.ExpectColumnDistinctValuesToContainSet(
                column="split", value_set=splits, description=f"rows for {', '.join(splits)}"
            ),
        ]
    return expectations
