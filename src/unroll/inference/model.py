"""A bundle as a Python object: tables in, tables of predictions out."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import pyarrow as pa
import pyarrow.parquet as pq

from unroll.config.decoding import DecodingConfig
from unroll.errors import DataError, FormatError
from unroll.inference.batches import open_file, quarantined
from unroll.inference.bundle import load_bundle
from unroll.inference.scorer import Scorer
from unroll.inference.stream import checked

if TYPE_CHECKING:
    import pandas as pd

    AnyTable = TypeVar("AnyTable", pa.Table, pd.DataFrame)


class Model:
    """A bundle, ready to predict. Needs neither torch nor MLflow.

    Attributes:
        version: Name of the experiment and the first 12 digits of the graph's SHA-256.
        card: What goes in and comes out, with dtypes, shapes and units.

    Args:
        folder: The bundle, or the folder of the experiment that contains it.
        decoding: Settings that replace those of the card, for a model that generates text.

    Raises:
        BundleError: The bundle is incomplete or altered.
    """

    def __init__(self, folder: Path, decoding: DecodingConfig | None = None) -> None:
        self._bundle = load_bundle(folder)
        self._scorer = Scorer(self._bundle, decoding=decoding)
        self.version, self.card = self._bundle.version, self._bundle.card

    def predict(self, table: "AnyTable") -> "AnyTable":
        """Predict each row of a table.

        Args:
            table: The columns that `unroll predict` expects in a Parquet file: `text`, `source`, `pixels`, … Rows are
                numbered from 0 unless there is a column `row_id`.

        Returns:
            A table of the same type, with `row_id`, `prediction`, `score`, `model_version` and what else the model
            gives. A row that cannot be scored has a `reason` and no prediction.

        Raises:
            FormatError: A column is missing or of another type.
            DataError: The table has no rows.
        """
        arrow = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table, preserve_index=False)
        parts: list[pa.Table] = []
        with tempfile.TemporaryDirectory() as folder:
            # Through a file, so that the rows of a table are read by the same code as those of a file.
            path = Path(folder) / "table.parquet"
            pq.write_table(arrow, path)
            try:
                for batch in checked(open_file(path, self._bundle, self._scorer.batch_rows), self._bundle, None):
                    parts += [pa.table(part) for part in (self._scorer.score(batch), quarantined(batch)) if len(part)]
            except (DataError, FormatError) as error:
                raise type(error)(str(error).replace(str(path), "the table")) from None
        found = pa.concat_tables(parts, promote_options="default")
        return cast("AnyTable", found if isinstance(table, pa.Table) else found.to_pandas())
