"""Inboxes for scoring jobs, on this machine or in an object store, and jobs in processes that can be killed."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
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
    """The places of one scoring job: input, output, quarantine and superseded below one address.

    Attributes:
        root: Folder of this machine for the bundle and the ledger.
        base: Address of the places; None for folders in `root`.
        url: Of the ledger; None for a SQLite file in `root`.
    """

    root: Path
    base: str | None = None
    url: str | None = None

    @property
    def ledger_url(self) -> str:
        return self.url or f"sqlite:///{self.root}/state/ledger.sqlite"

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

    def score(self, *, lock_seconds: float = 60.0, away_seconds: float = 20.0, **changes: Any) -> JobReport:
        """Runs a job in this process."""
        return score_inbox(
            self.scoring(**changes),
            ledger_url=self.ledger_url,
            work=self.root / "work",
            lock_seconds=lock_seconds,
            away_seconds=away_seconds,
        )

    def names(self, place: str) -> list[str]:
        """Files below a place, without the folder of the day; hidden ones, too."""
        system, key = self._at(place)
        found = [name.removeprefix(key).lstrip("/") for name in system.find(key)]
        return sorted(name.partition("/")[2] if name.startswith("scored_on=") else name for name in found)

    def content(self, place: str, ending: str) -> bytes:
        """Of the one file of a place whose name ends so."""
        system, key = self._at(place)
        (name,) = [name for name in system.find(key) if name.endswith(ending)]
        return bytes(system.cat_file(name))

    def table(self, place: str, ending: str) -> pa.Table:
        return pq.read_table(pa.BufferReader(self.content(place, ending)))

    def ids(self, place: str, ending: str = ".parquet") -> list[int]:
        """Ids of all rows of a place together, in order."""
        system, key = self._at(place)
        files = [name for name in system.find(key) if name.endswith(ending)]
        return sorted(
            one for name in files for one in pq.read_table(pa.BufferReader(system.cat_file(name)))["row_id"].to_pylist()
        )

    def _at(self, place: str) -> tuple[Any, str]:
        system, key = fsspec.core.url_to_fs(self.address(place))
        system.invalidate_cache()
        return system, key.rstrip("/")


_STARTER = """
import itertools, json, os, signal, sys
from pathlib import Path
from unroll.config.scoring import Scoring
from unroll.inference.file_scorer import FileScorer, RowFile
from unroll.inference.scorer import Scorer
from unroll.scoring import job
from unroll.scoring.ledger import Ledger
from unroll.scoring.places import Folder
from unroll.scoring.stores import Store

# Whatever changes something. Between two of them nothing is written, so one moment there is as good as any other.
STEPS = [
    *((Ledger, name) for name in ("claim", "supersede", "moved", "done", "rejected", "release", "restamp")),
    *((place, name) for place in (Folder, Store) for name in ("publish", "take", "remove")),
    (FileScorer, "score_file"), (Scorer, "score_piece"), (RowFile, "finish"), (job, "_require_balance"),
]

def run(order):
    passed = itertools.count(1)
    def step():
        if next(passed) == order["kill_at"]:
            os.kill(os.getpid(), signal.SIGKILL)
    def wrap(owner, name):
        real = getattr(owner, name)
        def wrapped(*args, **options):
            result = real(*args, **options)
            step()
            return result
        setattr(owner, name, wrapped)
    if order["kill_at"]:
        step()
        for owner, name in STEPS:
            wrap(owner, name)
    report = job.score_inbox(
        Scoring(**order["scoring"]), ledger_url=order["ledger_url"], work=Path(order["work"]),
    )
    return [one.file for one in report.of("scored")]

for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if not child:
        code = 1
        try:
            Path(order["result"]).write_text(json.dumps(run(order)))
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

    def start(self, inbox: Inbox, kill_at: int = 0, **changes: Any) -> int:
        """Starts a job, which kills itself at the N-th of its steps; gives its process id."""
        result = inbox.root / "result.json"
        result.unlink(missing_ok=True)
        order = {
            "scoring": inbox.scoring(**changes).model_dump(exclude={"drift"}),
            "ledger_url": inbox.ledger_url,
            "work": str(inbox.root / "work"),
            "kill_at": kill_at,
            "result": str(result),
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
