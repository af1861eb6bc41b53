"""CSV files of ramps, read into one typed table."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from unroll.sources.ingested import Ingested

ENDINGS = (".csv",)
VALUES = pa.list_(pa.field("element", pa.float32()))
SCHEMA = pa.schema([("row_id", pa.int64()), ("direction", pa.string()), ("values", VALUES)])


def read_dataset(fetched, section):
    """Return the rows of all sources."""
    rows = pa.concat_tables([pa.csv.read_csv(source.path) for source in fetched])
    values = pc.utf8_split_whitespace(rows["values"]).cast(VALUES)
    table = pa.table([range(len(rows)), rows["direction"], values], schema=SCHEMA)
    return Ingested(table, [source.record for source in fetched])
