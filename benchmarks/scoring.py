"""The scoring job: speed beside MLflow's own scoring and bare `session.run`, memory, and what its safety costs."""

import os
import tempfile
import time
import uuid
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.digits import bundle, write_digits
from benchmarks.figures import BenchmarkError, Report, compare, python, side_by_side
from benchmarks.predict import BATCH_ROWS, MIB, THREADS, bare_seconds
from unroll import paths
from unroll.files import read_json
from unroll.tracking.runs import signature_of

EXPERIMENT, LIGHT = "mnist-lstm", "mnist-dense"
"""What the speed is measured with, and a network that scores ten million rows in minutes."""
SOME, ROWS, FEW, MANY = 300_000, 1_000_000, 100_000, 10_000_000
REPEATS = 2


def measure() -> Report:
    """Score an inbox of one file with `unroll score`, and the same rows in the other ways."""
    with tempfile.TemporaryDirectory(prefix="unroll-bench-") as folder:
        place = Path(folder)
        files = {rows: place / f"{rows}.parquet" for rows in (SOME, ROWS, FEW, MANY)}
        for rows, path in files.items():
            write_digits(path, rows)
        for name in (EXPERIMENT, LIGHT):
            _save_model(bundle(name), place / name)

        def job(rows: int, name: str) -> float:
            return rows / _run_job(place, files[rows], rows, name)[0]

        def pyfunc(rows: int, name: str) -> float:
            command = ["pyfunc", str(place / name), str(files[rows]), str(place / "p.parquet"), str(BATCH_ROWS)]
            return rows / _seconds("-m", "benchmarks.processes", *command)

        def without() -> float:
            """Return the seconds of the same rows without markers, expectations and drift."""
            command = ["predict", "--model", str(paths.model(EXPERIMENT)), "--input", str(files[ROWS])]
            return _seconds("-m", "unroll.cli", *command, "--output", str(place / "out"), "--threads", str(THREADS))

        heavy = side_by_side(lambda: job(SOME, EXPERIMENT), lambda: pyfunc(SOME, EXPERIMENT), REPEATS)
        light = side_by_side(lambda: job(ROWS, LIGHT), lambda: pyfunc(ROWS, LIGHT), REPEATS)
        speeds = side_by_side(
            lambda: job(ROWS, EXPERIMENT), lambda: ROWS / bare_seconds(bundle(EXPERIMENT), files[ROWS]), REPEATS
        )
        costs = side_by_side(lambda: ROWS / job(ROWS, EXPERIMENT), without, REPEATS)
        many, few = (_run_job(place, files[rows], rows, LIGHT)[1] for rows in (MANY, FEW))
    figures = (
        compare(f"{EXPERIMENT} to mlflow.pyfunc, {SOME:,} rows", *heavy, "rows/s", target=3.0, at_least=True),
        compare(f"{LIGHT} to mlflow.pyfunc, {ROWS:,} rows", *light, "rows/s", target=3.0, at_least=True),
        compare(f"{EXPERIMENT} to bare session.run, {ROWS:,} rows", *speeds, "rows/s", target=0.8, at_least=True),
        compare(
            f"with markers, checks and drift to without, {ROWS:,} rows", *costs, "s", target=1 / 0.9, at_least=False
        ),
        compare(f"peak memory, {MANY:,} rows to {FEW:,}", [many], [few], "MiB", target=1.2, at_least=False),
    )
    note = (
        f"Digits of the test split, repeated, in one Parquet file of an inbox; {THREADS} threads, batches of "
        f"{BATCH_ROWS}. Ours: the whole process `unroll score` into an empty output, with the bundle's "
        "expectations and drift. References: a whole process that reads, predicts with `mlflow.pyfunc` and writes as "
        "many rows at a time; the `session.run` calls alone, as in the batch prediction above; `unroll predict`. "
        "Markers, checks and drift may take a tenth of the job: 1.111 times the time without them. "
        f"Memory with {LIGHT}."
    )
    return Report("Scoring job", figures, note)


def _run_job(place: Path, source: Path, rows: int, experiment: str) -> tuple[float, float]:
    """Score one file from an inbox of its own; return seconds and the peak of memory in MiB."""
    inbox = place / uuid.uuid4().hex
    inbox.mkdir()
    os.link(source, inbox / source.name)
    # A file that has just been made counts as still being written.
    os.utime(source, (0, 0))
    output = inbox.with_suffix(".out")
    command = ["score", "--model", str(paths.model(experiment)), "--input", str(inbox), "--output", str(output)]
    began = time.perf_counter()
    printed = python("-m", "benchmarks.processes", "peak", *command)
    took = time.perf_counter() - began
    found = sum(pq.read_metadata(path).num_rows for path in output.rglob("*.parquet"))
    if found != rows:
        raise BenchmarkError(f"unroll score has written {found:,} of {rows:,} rows:\n{printed[-3000:]}")
    return took, int(printed.split()[-1]) / MIB


def _seconds(*arguments: str) -> float:
    began = time.perf_counter()
    python(*arguments)
    return time.perf_counter() - began


def _save_model(folder: Path, place: Path) -> None:
    import mlflow
    import onnx

    signature = signature_of(read_json(folder / "card.json"))
    requirements = ["onnx", "onnxruntime", "numpy"]
    mlflow.onnx.save_model(
        onnx.load(folder / "model.onnx"), str(place), signature=signature, pip_requirements=requirements
    )
