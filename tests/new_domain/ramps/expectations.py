"""What is expected of a table of ramps."""

from unroll.domains.ramps.dataset import SCHEMA

from unroll.validation.expectations import Check, schema_check, schema_frame


def expectations(table, name, section):
    """Return the frames and the checks of a dataset."""
    frames = {"columns": schema_frame(table.schema, SCHEMA), "rows": table.select(["row_id", "direction"]).to_pandas()}
    known = {"column": "direction", "value_set": ["up", "down"]}
    check = Check("a row rises or falls", "rows", "ExpectColumnValuesToBeInSet", known, "row {row_id}: {direction}")
    return frames, [schema_check(), check]
