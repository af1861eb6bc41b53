"""What is expected of a table of ramps."""

import great_expectations as gx
from great_expectations import expectations as gxe


def make_suites(table, name, section):
    """Return the rows and their suite."""
    known = gxe.ExpectColumnValuesToBeInSet(
        column="direction", value_set=["up", "down"], description="a row rises or falls"
    )
    frame = table.select(["row_id", "direction"]).to_pandas()
    return [(frame, gx.ExpectationSuite("ramps", [known], meta={"row": ["row_id"]}))]
