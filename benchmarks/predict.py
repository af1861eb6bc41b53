"""Batch prediction: speed beside bare `session.run` calls, and whether memory grows with the rows."""

import tempfile
import time
from pathlib import Path

from benchmarks.digits import GROUP_ROWS, bundle, write_digits
from benchmarks.figures import Report, compare, python, side_by_side

EXPERIMENT = "mnist-lstm"
ROWS = 1_000_000
BATCH_ROWS = 512
THREADS = 2
REPEATS = 3
MIB = 2**20


def measure() -> Report:
    """Score the rows and a tenth of them with `unroll predict`, and the same batches with the bare session."""
    model = bundle(EXPERIMENT)
    peaks: dict[Path, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="unroll-bench-") as folder:
        many, few = Path(folder) / "many.parquet", Path(folder) / "few.parquet"
        write_digits(many, ROWS)
        write_digits(few, ROWS // 10)

        def scored(source: Path) -> float:
            command = ["predict", "--model", str(model), "--input", str(source), "--output", str(Path(folder) / "out")]
            command += ["--batch-rows", str(BATCH_ROWS), "--threads", str(THREADS)]
            began = time.perf_counter()
            printed = python("-m", "benchmarks.processes", "peak", *command)
            took = time.perf_counter() - began
            peaks.setdefault(source, []).append(int(printed.split()[-1]) / MIB)
            return ROWS / took

        speeds = side_by_side(lambda: scored(many), lambda: ROWS / bare_seconds(model, many), REPEATS)
        for _ in range(REPEATS):
            scored(few)
    memory = f"peak memory, {ROWS:,} rows to {ROWS // 10:,}"
    figures = (
        compare(f"speed, {ROWS:,} rows", *speeds, "rows/s", target=0.8, at_least=True),
        compare(memory, peaks[many], peaks[few], "MiB", target=1.3, at_least=False),
    )
    note = (
        f"models/{EXPERIMENT}, digits of the test split, repeated, in Parquet row groups of {GROUP_ROWS:,} rows; "
        f"{THREADS} threads, batches of {BATCH_ROWS}. "
        "Ours: the whole process `unroll predict`, from its start to its end, files read and written. "
        "Reference: the `session.run` calls alone, on the same batches in memory, as many at once, each by one thread."
    )
    return Report("Batch prediction", figures, note)


def bare_seconds(model: Path, source: Path) -> float:
    """Return the seconds of the calls of `session.run` alone."""
    command = ["-m", "benchmarks.processes", "bare", str(model / "model.onnx"), str(source)]
    return float(python(*command, str(BATCH_ROWS), str(THREADS)))
