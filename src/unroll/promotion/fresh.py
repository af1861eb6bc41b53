"""The gate "fresh process": a new Python process loads a bundle and scores rows with it, without torch."""

import io
import subprocess
import sys
from pathlib import Path

import pyarrow as pa

from unroll.errors import UnrollError
from unroll.promotion.gates import FRESH, Gate

SECONDS = 300.0
"""Time limit of the process."""


def fresh_process(bundle: Path, rows: pa.RecordBatch, seconds: float = SECONDS) -> Gate:
    """Pass if a new process has loaded the bundle and scored the rows, and has not imported torch."""
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, rows.schema) as writer:
        writer.write_batch(rows)
    command = [sys.executable, "-m", "unroll.promotion.fresh", str(bundle)]
    try:
        done = subprocess.run(command, input=stream.getvalue(), capture_output=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        return Gate(FRESH, "refused", f"a new process did not score {len(rows)} rows within {seconds:.0f} s")
    if done.returncode == 0:
        return Gate(FRESH, "passed", f"{len(rows)} test rows scored without torch")
    last = (done.stderr.decode(errors="replace").strip().splitlines() or ["it printed nothing"])[-1]
    return Gate(FRESH, "refused", f"a new process could not score with it (exit status {done.returncode}): {last}")


def _main(bundle: str) -> str | None:
    from unroll.inference.bundle import load_bundle
    from unroll.inference.scorer import Scorer

    (batch,) = pa.ipc.open_stream(sys.stdin.buffer)
    try:
        Scorer(load_bundle(Path(bundle))).score(batch)
    except UnrollError as error:
        return str(error)
    return "scoring imported torch, which is not installed where bundles are used" if "torch" in sys.modules else None


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
