"""Files are scored in a worker process: what ends it ends neither its parent nor the files after it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles

from unroll.errors import BundleError, DataError, ParameterError, UnrollError
from unroll.inference.file_scorer import FileScorer

LIMITS: dict[str, Any] = {"threads": 2, "batch_rows": 64, "memory_mb": 400, "file_seconds": 60.0}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return tiny_bundles.digits(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def kept(digits):
    """One scorer for many tests, as a job has one for many files."""
    with FileScorer(digits, **LIMITS) as scorer:
        yield scorer


def score(scorer, source, **options):
    out = source.parent / "out"
    return scorer.score_file(source, out / "p.parquet", quarantine=out / "q.parquet", metadata={"x": "ä"}, **options)


def good_file(folder, rows=3, bad=0):
    pixels = pa.array([*tiny_bundles.images(rows).tolist(), *[None] * bad], pa.list_(pa.uint8()))
    pq.write_table(pa.table({"pixels": pixels}), folder / "good.parquet")
    return folder / "good.parquet"


def worker_of(scorer):
    return scorer._worker.pid


def test_a_file_is_scored_and_its_outputs_replaced(kept, tmp_path):
    done = score(kept, good_file(tmp_path, bad=2))
    assert (done.rows_in, done.rows_scored, done.rows_quarantined) == (5, 3, 2)
    assert (done.output, done.quarantine) == (tmp_path / "out/p.parquet", tmp_path / "out/q.parquet")
    assert done.first_fault == "3: the pixels are missing"
    assert len(done.notes()) == 1
    assert json.loads(pq.read_schema(done.output).metadata[b"unroll"])["x"] == "ä"
    done = score(kept, good_file(tmp_path))
    assert (done.rows_quarantined, done.quarantine, done.notes()) == (0, None, [])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["p.parquet"]


def breaking(path):
    pq.write_table(tiny_bundles.digits_table(tiny_bundles.images(400)), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
    path.write_bytes(content)


def repetitive(path):
    """Two thousand texts of a megabyte in one column, which takes some kB."""
    values = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2000, np.int32)), pa.array(["1" * (1 << 20)]))
    pq.write_table(pa.table({"row_id": values, "pixels": [[0] * 784] * 2000}), path)


@pytest.mark.parametrize(("write", "message"), [(breaking, "cannot be read after row"), (repetitive, "memory_mb")])
def test_a_file_that_cannot_be_scored_leaves_nothing(kept, tmp_path, write, message):
    write(tmp_path / "bad.parquet")
    with pytest.raises(DataError, match=message):
        score(kept, tmp_path / "bad.parquet")
    assert not list((tmp_path / "out").iterdir())
    assert score(kept, good_file(tmp_path)).rows_scored == 3


def test_a_file_that_takes_too_long_is_rejected(digits, tmp_path):
    """A pipe that nobody writes to."""
    os.mkfifo(tmp_path / "pipe.csv")
    with FileScorer(digits, **{**LIMITS, "file_seconds": 2.0}) as scorer:
        with pytest.raises(DataError, match="file_seconds"):
            score(scorer, tmp_path / "pipe.csv")
        assert score(scorer, good_file(tmp_path)).rows_scored == 3


def while_scoring(scorer, folder, action):
    """Do something while the worker waits for a pipe."""
    os.mkfifo(folder / "pipe.csv")
    timer = threading.Timer(0.3, action)
    timer.start()
    try:
        return score(scorer, folder / "pipe.csv")
    finally:
        timer.join()


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGKILL, DataError), (signal.SIGABRT, DataError), (signal.SIGTERM, UnrollError)]
)
def test_a_worker_that_is_killed_is_replaced(kept, tmp_path, number, error):
    score(kept, good_file(tmp_path))
    with pytest.raises(error, match=number.name) as caught:
        while_scoring(kept, tmp_path, lambda: os.kill(worker_of(kept), number))
    assert type(caught.value) is error
    assert score(kept, good_file(tmp_path)).rows_scored == 3


def test_a_worker_that_died_between_files_costs_one_at_most(kept, tmp_path):
    score(kept, good_file(tmp_path))
    os.kill(worker_of(kept), signal.SIGKILL)
    with pytest.raises(DataError):
        score(kept, good_file(tmp_path))
    assert score(kept, good_file(tmp_path)).rows_scored == 3


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_a_worker_does_not_outlive_its_parent(digits, tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    code = (
        "import sys; from pathlib import Path; from unroll.inference.file_scorer import FileScorer\n"
        f"with FileScorer(Path(sys.argv[1]), **{LIMITS!r}) as scorer:\n"
        "    print(scorer._worker.pid, flush=True)\n"
        "    folder = Path(sys.argv[2])\n"
        "    scorer.score_file(folder / 'pipe.csv', folder / 'p', quarantine=folder / 'q', metadata={})\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(digits), str(tmp_path)], stdout=subprocess.PIPE) as parent:
        worker = int(parent.stdout.readline())
        assert alive(worker)
        parent.kill()
    until = time.monotonic() + 10
    while alive(worker) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(worker)


def test_scoring_ends_with_its_block(digits):
    with FileScorer(digits, **LIMITS) as scorer:
        worker = worker_of(scorer)
    assert not alive(worker)


def test_what_cannot_be_started(digits, tmp_path):
    with pytest.raises(BundleError, match="SHA256SUMS is missing"):
        FileScorer(tmp_path, **LIMITS).__enter__()
    folder = tiny_bundles.digits(tmp_path / "large")
    model = onnx.load(folder / "model.onnx")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(30_000_000, np.float32), "unused"))
    onnx.save(model, folder / "model.onnx")
    with pytest.raises(ParameterError, match="memory_mb is 256"):
        FileScorer(tiny_bundles.seal(folder), **{**LIMITS, "memory_mb": 256}).__enter__()


def test_an_output_that_cannot_be_written_is_not_the_files_fault(kept, tmp_path):
    source = good_file(tmp_path)
    with pytest.raises(UnrollError, match="cannot be written: File name too long") as caught:
        kept.score_file(source, tmp_path / ("x" * 260), quarantine=tmp_path / "q", metadata={})
    assert not isinstance(caught.value, DataError)
