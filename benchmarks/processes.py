"""What is measured in a process of its own: `python -m benchmarks.processes NAME ARGUMENT …`.

rows BUNDLE DIGITS.parquet BATCH_ROWS THREADS REPEATS  least processor seconds of each way to score the file, as JSON
pyfunc MODEL DIGITS.parquet BATCH_ROWS REPEATS         least seconds of what one writes around MLflow's own scoring
peak COMMAND …                                         `unroll COMMAND …`; prints the peak of memory in its last line
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def rows(bundle: str, source: str, batch_rows: str, threads: str, repeats: str) -> None:
    """Score a file by `session.run` alone, `threads` calls at a time on batches in memory, and as a worker does.

    Also hash it, as the scoring job does before.
    """
    from unroll.files import sha256_of
    from unroll.inference.bundle import load_bundle, open_session
    from unroll.inference.scorer import Scorer
    from unroll.inference.stream import score_stream

    path, size = Path(source), int(batch_rows)
    with pq.ParquetFile(path) as file:
        pixels = [batch.column("pixels").flatten().to_numpy() for batch in file.iter_batches(size)]
    batches = [part.reshape(-1, 28, 28) for part in pixels]
    loaded = load_bundle(Path(bundle))
    session, scorer = open_session(loaded), Scorer(loaded, size)
    output, quarantine = (path.with_suffix(f".{name}") for name in ("out", "bad"))
    more: dict[str, Any] = {"quarantine": quarantine, "metadata": {}}

    def bare() -> None:
        with ThreadPoolExecutor(int(threads)) as pool:
            list(pool.map(lambda batch: session.run(None, {"inputs": batch}), batches))

    ways: dict[str, Callable[[], object]] = {
        "session.run": bare,
        "stream": lambda: score_stream(scorer, int(threads), path, output, **more),
        "hash": lambda: sha256_of(path),
    }
    print(json.dumps(_least(ways, int(repeats)), separators=(",", ":")))


def pyfunc(model: str, source: str, batch_rows: str, repeats: str) -> None:
    """Read, predict and write as many rows at a time."""
    import mlflow

    predictor = mlflow.pyfunc.load_model(model)
    schema = pa.schema([("row_id", pa.int64()), ("prediction", pa.int64()), ("score", pa.float32())])

    def score() -> None:
        with pq.ParquetFile(source) as file, pq.ParquetWriter(f"{source}.pyfunc", schema) as writer:
            for batch in file.iter_batches(int(batch_rows)):
                table = batch.to_pandas()
                images = np.stack(table["pixels"].to_numpy()).reshape(len(table), 28, 28)
                found = predictor.predict({"inputs": images})
                labels = found["label"]
                scores = found["probabilities"][np.arange(len(table)), labels]
                writer.write_table(pa.table([table["row_id"], labels, scores], schema=schema))

    print(json.dumps(_least({"mlflow.pyfunc": score}, int(repeats)), separators=(",", ":")))


def _least(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the least processor seconds of each, measured in turn."""
    found = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats):
        for name, way in ways.items():
            began = time.process_time()
            way()
            found[name] = min(found[name], time.process_time() - began)
    return found


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
    programs: dict[str, Callable[..., None]] = {"rows": rows, "pyfunc": pyfunc, "peak": peak}
    programs[sys.argv[1]](*sys.argv[2:])
