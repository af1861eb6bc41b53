"""Batch prediction: speed beside bare `session.run` calls, and whether memory grows with the rows."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.digits import SIDE, digits
from benchmarks.figures import BenchmarkError, Report, compare, side_by_side
from unroll import paths

TITLE = "Batch prediction"
EXPERIMENT = "mnist-lstm"
ROWS = 1_000_000
BATCH_ROWS = 512
THREADS = 2
REPEATS = 3
GROUP_ROWS = 200_000
"""More than the smaller file has, so that a reader of whole row groups shows in the memory; writing a million at once
would take 8 GiB."""
_MIB = 2**20


def measure(rows: int = ROWS) -> Report:
    """Scores so many rows and a tenth of them with `unroll predict`, and the same batches with the bare session."""
    pixels, _, origin = digits("test")
    peaks: dict[Path, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="unroll-bench-") as folder:
        many, few = Path(folder) / "many.parquet", Path(folder) / "few.parquet"
        write_digits(many, pixels, rows)
        write_digits(few, pixels, rows // 10)
        bundle, which = _bundle(Path(folder))

        def scored(source: Path) -> float:
            command = ["predict", "--model", str(bundle), "--input", str(source), "--output", str(Path(folder) / "out")]
            command += ["--batch-rows", str(BATCH_ROWS), "--threads", str(THREADS)]
            began = time.perf_counter()
            printed = python("-m", "benchmarks.peak_memory", *command)
            took = time.perf_counter() - began
            peaks.setdefault(source, []).append(int(printed.split()[-1]) / _MIB)
            return rows / took

        def bare() -> float:
            command = ["-m", "benchmarks.bare_session", str(bundle / "model.onnx"), str(many)]
            return rows / float(python(*command, str(BATCH_ROWS), str(THREADS)))

        speeds = side_by_side(lambda: scored(many), bare, REPEATS)
        for _ in range(REPEATS):
            scored(few)
    figures = (
        compare(f"speed, {rows:,} rows", *speeds, "rows/s", target=0.8, at_least=True),
        compare(
            f"peak memory, {rows:,} rows to {rows // 10:,}", peaks[many], peaks[few], "MiB", target=1.3, at_least=False
        ),
    )
    note = (
        f"{which}, {origin}, repeated, in Parquet row groups of {GROUP_ROWS:,} rows; "
        f"{THREADS} threads, batches of {BATCH_ROWS}. "
        "Ours: the whole process `unroll predict`, from its start to its end, files read and written. "
        "Reference: the `session.run` calls alone, on the same batches in memory, as many at once, each by one thread."
    )
    return Report(TITLE, figures, note)


def write_digits(path: Path, pixels: np.ndarray, rows: int) -> None:
    """Writes digits, over and over, with pyarrow's own settings but for the size of a row group."""
    lists = pa.FixedSizeListArray.from_arrays(pa.array(np.resize(pixels, rows * SIDE * SIDE)), SIDE * SIDE)
    pq.write_table(pa.table({"row_id": pa.array(np.arange(rows)), "pixels": lists}), path, row_group_size=GROUP_ROWS)


def _bundle(folder: Path) -> tuple[Path, str]:
    """The experiment's bundle, or one of the same network untrained: it is as fast."""
    bundle = paths.bundle(EXPERIMENT)
    if bundle.exists():
        return bundle, f"models/{EXPERIMENT}"
    bundle = folder / "bundle"
    _export_untrained(bundle)
    return bundle, f"{EXPERIMENT} untrained, because {paths.bundle(EXPERIMENT)} is not there"


def _export_untrained(bundle: Path) -> None:
    import torch

    from unroll.config.reading import load_section
    from unroll.domains.task import make_task
    from unroll.export.bundle import make_card, write_card
    from unroll.export.onnx import export
    from unroll.features.samples import Samples
    from unroll.training.build import build_model, combine

    experiment = load_section("experiments", EXPERIMENT)
    task = make_task(experiment.task, load_section("tasks", experiment.task), Samples({}, ()))
    network = combine(task, [build_model(task, experiment.model).eval()])
    bundle.mkdir()
    example = torch.zeros(2, SIDE, SIDE, dtype=torch.uint8)
    export(network, task, example, None, bundle / "model.onnx", dynamic_time=True)
    write_card(bundle, make_card(EXPERIMENT, task, task.topology, dynamic_time=True, data={}, metrics={}), task)


def python(*arguments: str) -> str:
    """What a fresh Python process prints."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"python {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout
