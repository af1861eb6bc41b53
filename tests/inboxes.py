"""Inboxes for scoring jobs, on this machine or in an object store, and jobs in processes that can be killed."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tiny_bundles

from unroll.config.scoring import Scoring
from unroll.scoring.job import score_inbox
from unroll.scoring.report import JobReport


@dataclass(frozen=True)
class Inbox:
    """The folders of one scoring job below `base`, or below `root`, which is on this machine and has the bundle."""

    root: Path
    base: str | None = None

    def address(self, place: str) -> str:
        return f"{self.base or self.root}/{place}"

    def put(self, name: str, rows: int, seed: int = 0, bad: tuple[int, ...] = ()) -> bytes:
        """A file of digits with the ids 1000 · seed + row; `bad` rows lack their pixels."""
        pixels: list[Any] = [row.tolist() for row in tiny_bundles.images(rows, seed)]
        for row in bad:
            pixels[row] = None
        ids = np.arange(rows) + 1000 * seed
        sink = io.BytesIO()
        pq.write_table(pa.table({"row_id": ids, "pixels": pa.array(pixels, pa.list_(pa.uint8()))}), sink)
        return self.put_bytes(name, sink.getvalue())

    def put_bytes(self, name: str, content: bytes) -> bytes:
        if self.base is None:
            path = self.root / "inbox" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        else:
            system, key = self._at("inbox")
            system.pipe_file(f"{key}/{name}", content)
        return content

    def copy_to(self, other: "Inbox") -> None:
        """Copies the bundle and all files to another inbox, where each file is a new version."""
        shutil.copytree(self.root / "bundle", other.root / "bundle")
        for place in ("inbox", "predictions", "quarantine"):
            system, key = other._at(place)
            for path in (self.root / place).rglob("*"):
                if path.is_file() and path.name != "_inbox.json":
                    target = f"{key}/{path.relative_to(self.root / place).as_posix()}"
                    system.makedirs(target.rpartition("/")[0], exist_ok=True)
                    system.pipe_file(target, path.read_bytes())
        (other.root / "inbox").mkdir(exist_ok=True)

    def scoring(self, **changes: Any) -> Scoring:
        given = {
            "model": str(self.root / "bundle"),
            "input": self.address("inbox"),
            "output": self.address("predictions"),
            "quarantine": self.address("quarantine"),
            "batch_rows": 2,
            "threads": 1,
            "settle_seconds": 0.0,
            "max_bad_share": 0.5,
        }
        return Scoring(**{**given, **changes})

    def score(self, since: datetime | None = None, **changes: Any) -> JobReport:
        """Runs a job in this process, or a backfill of what was scored since then."""
        return score_inbox(self.scoring(**changes), staging=self.root / "staging", rescore_since=since)

    def states(self, **changes: Any) -> dict[str, str]:
        """Runs a job; the state of each file."""
        return {one.file: one.state for one in self.score(**changes).files}

    def files(self, place: str) -> dict[str, bytes]:
        """Name and content of every file below a place, hidden ones, too; markers are left out."""
        system, key = self._at(place)
        found = {name.removeprefix(key).lstrip("/"): system.cat_file(name) for name in system.find(key)}
        return {name: content for name, content in found.items() if not name.startswith("_")}

    def marker_names(self) -> list[str]:
        """Names of all markers, `FILE@VERSION.json`."""
        system, key = self._at("predictions")
        names = [name.removeprefix(f"{key}/_scored/") for name in system.find(f"{key}/_scored")]
        return [name for name in names if not name.rpartition("/")[2].startswith((".", "_"))]

    def markers(self) -> dict[str, dict[str, Any]]:
        """All markers, by the name of their file; fails if a file has two."""
        system, key = self._at("predictions")
        names = self.marker_names()
        found = {name.rpartition("@")[0]: json.loads(system.cat_file(f"{key}/_scored/{name}")) for name in names}
        assert len(found) == len(names), names
        return found

    def table(self, place: str, name: str) -> pa.Table:
        return pq.read_table(pa.BufferReader(self.files(place)[name]))

    def versions(self) -> dict[str, set[str]]:
        """The model versions in each file of predictions."""
        return {
            name: set(self.table("predictions", name)["model_version"].to_pylist())
            for name in self.files("predictions")
        }

    def ids(self, place: str) -> list[int]:
        """Ids of all rows of a place together, in order."""
        tables = [content for name, content in self.files(place).items() if name.endswith(".parquet")]
        return sorted(one for table in tables for one in pq.read_table(pa.BufferReader(table))["row_id"].to_pylist())

    def _at(self, place: str) -> tuple[Any, str]:
        system, key = fsspec.core.url_to_fs(self.address(place))
        system.invalidate_cache()
        return system, key.rstrip("/")


_STARTER = """
import itertools, json, os, signal, sys
from datetime import datetime
from pathlib import Path
from unroll.config.scoring import Scoring
from unroll.inference.file_scorer import FileScorer
from unroll.scoring import job, publish
from unroll.scoring.storage import Storage

# Whatever changes something. Between two of them nothing is written, so one moment there is as good as any other.
STEPS = [*((Storage, name) for name in ("fetch", "put", "remove")), (FileScorer, "score_file")]

def run(order):
    passed = itertools.count(1)
    def wrap(owner, name):
        real = getattr(owner, name)
        def wrapped(*args, **options):
            result = real(*args, **options)
            if next(passed) == order["kill_at"]:
                os.kill(os.getpid(), signal.SIGKILL)
            return result
        setattr(owner, name, wrapped)
    if order["kill_at"]:
        for owner, name in STEPS:
            wrap(owner, name)
    since = datetime.fromisoformat(order["since"]) if order["since"] else None
    job.score_inbox(Scoring(**order["scoring"]), staging=Path(order["staging"]), rescore_since=since)

for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if not child:
        code = 1
        try:
            run(order)
            code = 0
        finally:
            os._exit(code)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class JobStarter:
    """Starts jobs, each in a process of its own that is a copy of one that has imported all it needs."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def start(self, inbox: Inbox, kill_at: int = 0, since: datetime | None = None, **changes: Any) -> int:
        """Starts a job, which kills itself at the N-th of its steps, or a backfill; gives its process id."""
        order = {
            "scoring": inbox.scoring(**changes).model_dump(exclude={"drift"}),
            "since": since.isoformat() if since else None,
            "staging": str(inbox.root / "staging"),
            "kill_at": kill_at,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._line())

    def wait(self) -> int:
        """Waits for the job's end; gives its exit code, negative where a signal ended it."""
        return int(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


@contextlib.contextmanager
def job_starter() -> Iterator[JobStarter]:
    """A starter for as long as the block lasts."""
    starter = JobStarter()
    try:
        yield starter
    finally:
        starter.close()


KILLED = -signal.SIGKILL
