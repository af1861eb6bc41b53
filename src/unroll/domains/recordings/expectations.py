"""What is expected of a table of recordings."""

import great_expectations as gx
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from great_expectations import expectations as gxe

from unroll.domains.recordings.config import RecordingDataset
from unroll.validation.rows import ROW, row_expectations, row_frame
from unroll.validation.suites import Suites


def make_suites(table: pa.Table, name: str, section: RecordingDataset) -> Suites:
    """Return the recordings and their suite. Frames of sound are 10 ms long."""
    sound = "samples" in table.schema.names
    column = table["samples" if sound else "frames"]
    values = [
        np.empty(0)
        if one.values is None
        else (one.values if sound else one.values.flatten()).to_numpy(zero_copy_only=False)
        for one in column
    ]
    texts = table["file"].to_pylist() if sound else [f"class {label}" for label in table["label"].to_pylist()]
    frame = row_frame(table, texts, [one.tobytes() or row for row, one in enumerate(values)])
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    frame["frames"] = -(-lengths * 100 // section.sample_rate) if sound else lengths
    frame["finite"] = [bool(np.isfinite(one).all()) for one in values]
    frame["label"] = labels = table["label"].to_pandas()
    expectations = [
        *row_expectations(frame, ["frames"], section, name),
        gxe.ExpectColumnValuesToBeInSet(column="finite", value_set=[True], description="frames are finite"),
        gxe.ExpectColumnValuesToNotBeNull(column="label", description="label is never empty"),
    ]
    if not sound:
        # A label that is far off must not make a list of millions of classes.
        last = int(min(labels.max(), len(labels))) if labels.notna().any() else 0
        expectations += [
            gxe.ExpectColumnValuesToBeBetween(column="label", min_value=0, description="labels count from 0"),
            gxe.ExpectColumnDistinctValuesToContainSet(
                column="label", value_set=list(range(last + 1)), description="every label occurs"
            ),
        ]
    return [(frame, gx.ExpectationSuite("recordings", expectations, meta={"row": ROW}))]
