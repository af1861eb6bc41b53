"""Load and use a bundle in a process of its own: `python -m unroll.promotion.fresh BUNDLE ROWS`."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from unroll.errors import UnrollError

SECONDS = 300.0
"""Time limit of the process."""


def score_in_new_process(bundle: Path, rows: pa.RecordBatch, seconds: float = SECONDS) -> Mapping[str, Any] | str:
    """Let a new Python process load a bundle and score some rows.

    Returns:
        `rows`, `model_version` and `torch` (whether it was imported); or why the process failed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "rows.arrow"
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, rows.schema) as writer:
            writer.write_batch(rows)
        command = [sys.executable, "-m", "unroll.promotion.fresh", str(bundle), str(path)]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=seconds
            )
        except subprocess.TimeoutExpired:
            return f"a new process did not score {len(rows)} rows within {seconds:.0f} s"
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        return f"a new process could not score with the bundle (exit status {done.returncode}): {last}"
    report: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def main(bundle: str, rows: str) -> int:
    """Score rows with a bundle and print the report as a line of JSON; return 2 if that fails."""
    from unroll.inference.bundle import load_bundle
    from unroll.inference.scorer import Scorer

    with pa.OSFile(rows, "rb") as file:
        batch = pa.ipc.open_file(file).read_all().combine_chunks().to_batches()[0]
    try:
        scorer = Scorer(load_bundle(Path(bundle)))
        scored = scorer.score(batch)
    except UnrollError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- the parent process reads it
        return 2
    report = {"rows": len(scored), "model_version": scorer.bundle.version, "torch": "torch" in sys.modules}
    print(json.dumps(report))  # noqa: T201 -- the parent process reads it
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
