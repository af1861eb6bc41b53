"""`unroll predict` and `unroll score` beside bare `session.run` and `mlflow.pyfunc`; memory by the number of rows."""

import json
import os
import tempfile
import uuid
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.digits import bundle, write_digits
from benchmarks.figures import BenchmarkError, Figure, Report, compare, processor_seconds
from unroll import paths
from unroll.files import read_json
from unroll.tracking.runs import signature_of

HEAVY, LIGHT = "mnist-lstm", "mnist-dense"
BATCH_ROWS, THREADS = 512, 2
ONE, SOME, FEW, MANY = 1, 10_000, 100_000, 1_000_000
"""Rows of the files: the first two tell what the start and what a row takes, the others are for memory."""
REPEATS, STARTS = 9, 3
MIB = 2**20


def measure() -> Report:
    """Score the same rows in each way, in turn."""
    with tempfile.TemporaryDirectory(prefix="unroll-bench-") as folder:
        place = Path(folder)
        files = {rows: place / f"{rows}.parquet" for rows in (ONE, SOME, FEW, MANY)}
        for rows, path in files.items():
            write_digits(path, rows)
        figures = [figure for experiment in (HEAVY, LIGHT) for figure in _speeds(experiment, files, place)]
        many, few = (float(_score(LIGHT, files[rows], rows)[1]) / MIB for rows in (MANY, FEW))
    figures.append(compare(f"peak memory, {MANY:,} rows to {FEW:,}", [many], [few], "MiB", target=1.2, at_least=False))
    note = (
        f"Digits as lists of pixels in Parquet; {THREADS} threads, batches of {BATCH_ROWS}. Ours: the whole process, "
        "from its start to its end. References: the calls of `session.run` alone, on batches in memory, as many at "
        "once as there are threads; a process that reads, predicts with `mlflow.pyfunc` and writes as many rows at a "
        f"time. Rows by second of processor time for {MANY:,} rows: what a process takes for {ONE} row (least of "
        f"{STARTS}), and {MANY // SOME} times what a further {SOME:,} take in it (least of {REPEATS}, in turn with "
        f"`session.run`). Memory: `unroll score` with {LIGHT}."
    )
    return Report("Scoring", tuple(figures), note)


def _speeds(experiment: str, files: dict[int, Path], place: Path) -> list[Figure]:
    size = (str(BATCH_ROWS), str(THREADS), str(REPEATS))
    taken = json.loads(processor_seconds("rows", str(bundle(experiment)), str(files[SOME]), *size)[1])
    predict_start = min(_predict(experiment, files[ONE]) for _ in range(STARTS))
    score_start = min(_score(experiment, files[ONE], ONE)[0] for _ in range(STARTS))
    seconds = {
        "session.run": _of_many(taken["session.run"]),
        "unroll predict": predict_start + _of_many(taken["stream"]),
        "unroll score": score_start + _of_many(taken["stream"] + taken["hash"]),
    }
    wanted = [("unroll predict", "session.run", 0.9), ("unroll score", "session.run", 0.85)]
    if experiment == LIGHT:
        _save_model(bundle(LIGHT), place / LIGHT)
        command = ("pyfunc", str(place / LIGHT), str(files[SOME]), str(BATCH_ROWS), str(REPEATS))
        # Without its start, which is mostly MLflow's import.
        seconds["mlflow.pyfunc"] = _of_many(json.loads(processor_seconds(*command)[1])["mlflow.pyfunc"])
        wanted.append(("unroll score", "mlflow.pyfunc", 3.0))
    speed = {way: MANY / value for way, value in seconds.items()}
    return [
        Figure(
            f"{experiment}, {ours} to {other}",
            speed[ours],
            speed[other],
            speed[ours] / speed[other],
            "rows/s",
            target,
            True,
            REPEATS,
        )
        for ours, other, target in wanted
    ]


def _of_many(seconds: float) -> float:
    return MANY / SOME * seconds


def _predict(experiment: str, source: Path) -> float:
    output = source.with_name(f"{experiment}-predicted")
    command = ["predict", "--model", str(paths.model(experiment)), "--input", str(source), "--output", str(output)]
    return processor_seconds("peak", *command, "--batch-rows", str(BATCH_ROWS), "--threads", str(THREADS))[0]


def _score(experiment: str, source: Path, rows: int) -> tuple[float, str]:
    """Score one file from an inbox of its own; return processor seconds and the peak of memory in bytes."""
    inbox = source.with_name(uuid.uuid4().hex)
    inbox.mkdir()
    os.link(source, inbox / source.name)
    # A file that has just been made counts as still being written.
    os.utime(source, (0, 0))
    output = inbox.with_suffix(".out")
    command = ["--model", str(paths.model(experiment)), "--input", str(inbox), "--output", str(output)]
    took, peak = processor_seconds("peak", "score", *command, "--quarantine", str(inbox.with_suffix(".bad")))
    found = sum(pq.read_metadata(path).num_rows for path in output.rglob("*.parquet"))
    if found != rows:
        raise BenchmarkError(f"unroll score has written {found:,} of {rows:,} rows")
    return took, peak


def _save_model(folder: Path, place: Path) -> None:
    import mlflow
    import onnx

    signature = signature_of(read_json(folder / "card.json"))
    requirements = ["onnx", "onnxruntime", "numpy"]
    mlflow.onnx.save_model(
        onnx.load(folder / "model.onnx"), str(place), signature=signature, pip_requirements=requirements
    )
