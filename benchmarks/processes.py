"""What is measured in a process of its own: `python -m benchmarks.processes NAME ARGUMENT …`.

bare MODEL.onnx DIGITS.parquet BATCH_ROWS THREADS      `session.run` on batches in memory; prints processor seconds
pyfunc MODEL DIGITS.parquet OUTPUT.parquet BATCH_ROWS  what one writes around MLflow's own scoring
peak COMMAND …                                         `unroll COMMAND …`; prints the peak of memory in its last line
"""

import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def bare(model: str, source: str, batch_rows: str, threads: str) -> None:
    """Run the graph over all batches, `threads` of them at a time, each by one thread."""
    import onnxruntime

    with pq.ParquetFile(source) as file:
        batches = [
            batch.column("pixels").flatten().to_numpy().reshape(batch.num_rows, 28, 28)
            for batch in file.iter_batches(int(batch_rows), columns=["pixels"])
        ]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    with ThreadPoolExecutor(int(threads)) as pool:
        began = time.process_time()
        list(pool.map(lambda batch: session.run(None, {"inputs": batch}), batches))
        print(time.process_time() - began)


def pyfunc(model: str, source: str, output: str, batch_rows: str) -> None:
    """Read, predict and write as many rows at a time."""
    import mlflow

    predictor = mlflow.pyfunc.load_model(model)
    schema = pa.schema([("row_id", pa.int64()), ("prediction", pa.int64()), ("score", pa.float32())])
    with pq.ParquetFile(source) as file, pq.ParquetWriter(output, schema) as writer:
        for batch in file.iter_batches(int(batch_rows)):
            rows = batch.to_pandas()
            found = predictor.predict({"inputs": np.stack(rows["pixels"].to_numpy()).reshape(len(rows), 28, 28)})
            labels = found["label"]
            scores = found["probabilities"][np.arange(len(rows)), labels]
            writer.write_table(pa.table([rows["row_id"], labels, scores], schema=schema))
    print("done")


def peak(*command: str) -> None:
    """Run a command, and print the most bytes of memory that this process has held, plus those of its largest child."""
    from unroll.cli import main

    code = main(command)
    # On Linux, getrusage also counts what the parent held when it started this process.
    status = Path("/proc/self/status")
    own = status.read_text().partition("VmHWM:")[2].split()[0] if status.exists() else _most(resource.RUSAGE_SELF)
    print((int(own) + _most(resource.RUSAGE_CHILDREN)) * 1024)
    sys.exit(code)


def _most(of: int) -> int:
    return resource.getrusage(of).ru_maxrss


if __name__ == "__main__":
    programs: dict[str, Callable[..., None]] = {"bare": bare, "pyfunc": pyfunc, "peak": peak}
    programs[sys.argv[1]](*sys.argv[2:])
