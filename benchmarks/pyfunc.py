"""What one writes around MLflow's own scoring: Parquet through `mlflow.pyfunc`, batch by batch, into Parquet.

`python -m benchmarks.pyfunc MODEL DIGITS.parquet OUTPUT.parquet BATCH_ROWS`
"""

import sys

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

SIDE = 28


def score(model: str, source: str, output: str, batch_rows: int) -> None:
    """Reads, predicts and writes as many rows at a time."""
    predictor = mlflow.pyfunc.load_model(model)
    writer = None
    with pq.ParquetFile(source) as file:
        for batch in file.iter_batches(batch_rows):
            rows = batch.to_pandas()
            images = np.stack(rows["pixels"].to_numpy()).reshape(len(rows), SIDE, SIDE)
            found = predictor.predict({"inputs": images})
            labels, probabilities = found["label"], found["probabilities"]
            scores = probabilities[np.arange(len(rows)), labels]
            table = pa.Table.from_pandas(
                pd.DataFrame({"row_id": rows["row_id"], "prediction": labels, "score": scores}), preserve_index=False
            )
            writer = writer or pq.ParquetWriter(output, table.schema)
            writer.write_table(table)
    if writer:
        writer.close()


if __name__ == "__main__":
    score(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
