"""The barest scoring: batches in memory, `session.run` on each, nothing else. Prints the seconds that it took.

`python -m benchmarks.bare_session MODEL.onnx DIGITS.parquet BATCH_ROWS THREADS`
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import onnxruntime
import pyarrow.parquet as pq


def seconds(model: str, source: str, batch_rows: int, threads: int) -> float:
    """Runs the graph over all batches, `threads` of them at a time, each by one thread."""
    with pq.ParquetFile(source) as file:
        batches = [
            batch.column("pixels").flatten().to_numpy().reshape(batch.num_rows, 28, 28)
            for batch in file.iter_batches(batch_rows, columns=["pixels"])
        ]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        outputs = list(pool.map(lambda batch: session.run(None, {"inputs": batch}), batches))
        took = time.perf_counter() - began
    assert sum(len(output[0]) for output in outputs) == sum(len(batch) for batch in batches)
    return took


if __name__ == "__main__":
    print(seconds(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
