"""The scoring job: speed beside MLflow's own scoring and bare `session.run`, memory, and what its safety costs."""

import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.digits import SIDE, digits
from benchmarks.figures import BenchmarkError, Report, compare, side_by_side
from benchmarks.predict import BATCH_ROWS, GROUP_ROWS, THREADS, python, write_digits
from unroll import paths
from unroll.files import read_json

TITLE = "Scoring job"
EXPERIMENT, LIGHT = "mnist-lstm", "mnist-dense"
"""What the speed is measured with, and a network of which ten million rows are scored in minutes."""
SOME, ROWS, FEW, MANY = 300_000, 1_000_000, 100_000, 10_000_000
REPEATS = 2
_MIB = 2**20


def measure() -> Report:
    """Scores an inbox of one file with `unroll score`, and the same rows in the other ways."""
    for name in (EXPERIMENT, LIGHT):
        if not paths.bundle(name).exists():
            raise BenchmarkError(f"{name} is not trained yet; run `make run` first")
    pixels, _, origin = digits("test")
    with tempfile.TemporaryDirectory(prefix="unroll-bench-") as folder:
        place = Path(folder)
        some, whole = place / "some.parquet", place / "whole.parquet"
        write_digits(some, pixels, SOME)
        write_digits(whole, pixels, ROWS)
        log_model(EXPERIMENT, place / "pyfunc")
        log_model(LIGHT, place / "pyfunc-light")

        def job(source: Path, name: str) -> float:
            return int(pq.read_metadata(source).num_rows) / run_job(place, source, name)[0]

        def pyfunc(source: Path, model: str) -> float:
            began = time.perf_counter()
            python("-m", "benchmarks.pyfunc", str(place / model), str(source), str(place / "p.parquet"), "512")
            return int(pq.read_metadata(source).num_rows) / (time.perf_counter() - began)

        def bare() -> float:
            """Seconds of the calls of `session.run` alone."""
            command = ["-m", "benchmarks.bare_session", str(paths.bundle(EXPERIMENT) / "model.onnx"), str(whole)]
            return float(python(*command, str(BATCH_ROWS), str(THREADS)))

        def without() -> float:
            """Seconds of the same rows without markers, expectations and drift."""
            command = ["-m", "unroll.cli", "predict", "--model", str(paths.model(EXPERIMENT)), "--input", str(whole)]
            began = time.perf_counter()
            python(*command, "--output", str(place / "predicted"), "--threads", str(THREADS))
            return time.perf_counter() - began

        heavy = side_by_side(lambda: job(some, EXPERIMENT), lambda: pyfunc(some, "pyfunc"), REPEATS)
        light = side_by_side(lambda: job(whole, LIGHT), lambda: pyfunc(whole, "pyfunc-light"), REPEATS)
        turns = [(run_job(place, whole, EXPERIMENT)[0], bare(), without()) for _ in range(REPEATS)]
        jobs, bares, plain = zip(*turns, strict=True)
        speeds = [ROWS / one for one in jobs], [ROWS / one for one in bares]
        many, few = place / "many.parquet", place / "few.parquet"
        write_repeated(many, pixels, MANY)
        write_repeated(few, pixels, FEW)
        peaks = side_by_side(lambda: run_job(place, many, LIGHT)[1], lambda: run_job(place, few, LIGHT)[1], 1)
    figures = (
        compare(f"{EXPERIMENT} to mlflow.pyfunc, {SOME:,} rows", *heavy, "rows/s", target=3.0, at_least=True),
        compare(f"{LIGHT} to mlflow.pyfunc, {ROWS:,} rows", *light, "rows/s", target=3.0, at_least=True),
        compare(f"{EXPERIMENT} to bare session.run, {ROWS:,} rows", *speeds, "rows/s", target=0.8, at_least=True),
        compare(
            f"with markers, checks and drift to without, {ROWS:,} rows",
            jobs,
            plain,
            "s",
            target=1 / 0.9,
            at_least=False,
        ),
        compare(f"peak memory, {MANY:,} rows to {FEW:,}", *peaks, "MiB", target=1.2, at_least=False),
    )
    note = (
        f"Digits, {origin}, repeated, in one Parquet file of an inbox; {THREADS} threads, batches of {BATCH_ROWS}. "
        "Ours: the whole process `unroll score` into an empty output, with the bundle's "
        "expectations and drift. References: a whole process that reads, predicts with `mlflow.pyfunc` and writes as "
        "many rows at a time; the `session.run` calls alone, as in the batch prediction above; `unroll predict`. "
        "Markers, checks and drift may take a tenth of the job: 1.111 times the time without them. "
        f"Memory with {LIGHT}."
    )
    return Report(TITLE, figures, note)


def run_job(place: Path, source: Path, experiment: str) -> tuple[float, float]:
    """Scores one file from an inbox of its own; gives seconds and the peak of memory in MiB."""
    inbox = place / uuid.uuid4().hex
    inbox.mkdir()
    os.link(source, inbox / source.name)
    # A file that has just been made counts as still being written.
    os.utime(source, (0, 0))
    command = [sys.executable, "-m", "benchmarks.peak_memory", "score", "--model", str(paths.model(experiment))]
    command += ["--input", str(inbox), "--output", str(inbox.with_suffix(".out"))]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode:
        raise BenchmarkError(f"unroll score ended with {done.returncode}:\n{done.stderr[-3000:]}")
    rows = sum(pq.read_metadata(path).num_rows for path in inbox.with_suffix(".out").rglob("*.parquet"))
    if rows != pq.read_metadata(source).num_rows:
        raise BenchmarkError(f"unroll score has written {rows:,} rows:\n{done.stdout[-3000:]}")
    return took, int(done.stdout.split()[-1]) / _MIB


def log_model(experiment: str, place: Path) -> None:
    """The experiment's graph as MLflow keeps it, with its signature."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    card = read_json(paths.bundle(experiment) / "card.json")
    sides = [
        Schema(
            [
                TensorSpec(
                    np.dtype(one["dtype"]), tuple(n if isinstance(n, int) else -1 for n in one["shape"]), one["name"]
                )
                for one in card[side]
            ]
        )
        for side in ("inputs", "outputs")
    ]
    mlflow.onnx.save_model(
        onnx.load(paths.bundle(experiment) / "model.onnx"),
        str(place),
        signature=ModelSignature(*sides),
        pip_requirements=["onnx", "onnxruntime", "numpy"],
    )


def write_repeated(path: Path, pixels: np.ndarray, rows: int) -> None:
    """Writes more digits than memory should hold: the same row group over and over, but for the ids."""
    size = min(rows, GROUP_ROWS)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(np.resize(pixels, size * SIDE * SIDE)), SIDE * SIDE)
    schema = pa.schema([("row_id", pa.int64()), ("pixels", lists.type)])
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, rows, size):
            writer.write_table(pa.table([pa.array(np.arange(first, first + size)), lists], schema=schema))
