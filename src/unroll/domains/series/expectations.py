"""What is expected of a table of series."""

import great_expectations as gx
import numpy as np
import pandas as pd
import pyarrow as pa
from great_expectations import expectations as gxe

from unroll.domains.series.config import SeriesDataset
from unroll.domains.series.table import by_series, steps_of
from unroll.domains.series.times import frequency_of
from unroll.validation.suites import Suites

_ROW = ("series", "time")


def make_suites(table: pa.Table, name: str, section: SeriesDataset) -> Suites:
    """Return the rows and their suite, and the gaps of each series and theirs."""
    bounds, key = section.expectations, f"datasets.{name}.expectations"
    columns = tuple(table.column_names[2:])
    rows: pd.DataFrame = table.to_pandas()
    for column in columns:
        rows[f"{column} is finite"] = ~np.isinf(rows[column].to_numpy(np.float64))
    of_rows = [
        gxe.ExpectTableRowCountToBeBetween(
            min_value=bounds.min_rows,
            description=f"at least {bounds.min_rows:,} rows",
            notes=f"bound: `{key}.min_rows`",
        ),
        gxe.ExpectCompoundColumnsToBeUnique(column_list=list(_ROW), description="one row for each series and time"),
        *(
            gxe.ExpectColumnValuesToNotBeNull(
                column=column,
                mostly=1 - bounds.max_empty,
                description=f"{column} is empty in at most {bounds.max_empty:.4g} of the rows",
                notes=f"bound: `{key}.max_empty`",
            )
            for column in columns
        ),
        *(
            gxe.ExpectColumnValuesToBeInSet(
                column=f"{column} is finite", value_set=[True], description=f"{column} is finite"
            )
            for column in columns
        ),
    ]
    of_gaps = [
        gxe.ExpectColumnValuesToBeBetween(
            column="gaps",
            min_value=0,
            max_value=bounds.max_gaps,
            description=f"at most {bounds.max_gaps:.4g} of the times have no row",
            notes=f"bound: `{key}.max_gaps`",
        )
    ]
    return [
        (rows, gx.ExpectationSuite("rows", of_rows, meta={"row": list(_ROW)})),
        (_gaps(table), gx.ExpectationSuite("series", of_gaps, meta={"row": ["series"]})),
    ]


def _gaps(table: pa.Table) -> pd.DataFrame:
    rows = by_series(table)
    frequency = frequency_of([one["time"].to_numpy().astype("datetime64[s]") for one in rows.values()])
    steps = [int(steps_of(name, one, frequency)[-1]) + 1 for name, one in rows.items()]
    gaps = [1 - len(one) / count for one, count in zip(rows.values(), steps, strict=True)]
    return pd.DataFrame({"series": list(rows), "gaps": gaps})
