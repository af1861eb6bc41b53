"""What is expected of a table of labeled texts."""

import great_expectations as gx
import pyarrow as pa
from great_expectations import expectations as gxe

from unroll.domains.texts.config import TextDataset
from unroll.validation.rows import ROW, row_expectations, text_frame
from unroll.validation.suites import Suites


def make_suites(table: pa.Table, name: str, section: TextDataset) -> Suites:
    """Return the texts and their suite."""
    frame = text_frame(table)
    column = "rating" if section.labels is None else "label"
    frame[column] = table[column].to_pandas()
    expectations = row_expectations(frame, ["characters"], section, name)
    expectations.append(gxe.ExpectColumnValuesToNotBeNull(column=column, description=f"{column} is never empty"))
    if section.labels is None:
        expectations.append(
            gxe.ExpectColumnUniqueValueCountToBeBetween(column="rating", min_value=2, description="ratings differ")
        )
    else:
        options = {"column": "label", "value_set": list(section.labels), "notes": f"`datasets.{name}.labels`"}
        expectations += [
            gxe.ExpectColumnValuesToBeInSet(description="every label is declared", **options),
            gxe.ExpectColumnDistinctValuesToContainSet(description="every declared label occurs", **options),
        ]
    return [(frame, gx.ExpectationSuite("texts", expectations, meta={"row": ROW}))]
