"""A file of 2 GB is scored in less than 1 GB of memory."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles
from hostile import scored_elsewhere

ROWS, GROUP = 2_700_000, 100_000


@pytest.mark.slow
def test_a_file_of_two_gigabytes(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (GROUP, 784)).astype(np.uint8)
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(784), GROUP, [None, pa.py_buffer(images)])
    source = tmp_path / "a.parquet"
    options = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    with pq.ParquetWriter(source, pa.schema([("pixels", column.type)]), **options) as writer:
        for _ in range(ROWS // GROUP):
            writer.write_table(pa.table([column], ["pixels"]), row_group_size=GROUP)
    assert source.stat().st_size > 2_000_000_000
    outcome = scored_elsewhere(tiny_bundles.digits(tmp_path / "bundle"), source, tmp_path / "out", seconds=1200)
    source.unlink()
    assert (outcome.rows, outcome.error) == (ROWS, None)
    assert outcome.peak_mb < 500
