"""Hostile files, and scoring in a process of its own, whose memory is measured."""

import gzip
import io
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_SCORE = """
import json, os, resource, sys
from pathlib import Path
from unroll.errors import UnrollError
from unroll.inference.predict import predict

# If a limit does not work, this process and its worker die, and not the machine.
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
bundle, source, output = map(Path, sys.argv[1:])
rows, error = 0, None
try:
    rows = predict(bundle, source, output)[0].rows_scored
except UnrollError as caught:
    error = f"{type(caught).__name__}: {caught}"
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps({"rows": rows, "error": error, "peak_mb": (int(peak.split()[1]) + worker) / 1024}))
"""


@dataclass(frozen=True)
class Outcome:
    """Scored rows, unroll's error if there was one, and the most memory of the process and its worker in MiB."""

    rows: int
    error: str | None
    peak_mb: float


def scored_elsewhere(bundle: Path, source: Path, output: Path, seconds: float = 300.0) -> Outcome:
    """Score a file from another process; fails if that hangs, crashes, or raises anything but unroll's errors."""
    arguments = [sys.executable, "-c", _SCORE, *map(os.fsencode, (bundle, source, output))]
    done = subprocess.run(arguments, capture_output=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return Outcome(**json.loads(done.stdout))


def gzip_bomb(unit: bytes, size: int, head: bytes = b"") -> bytes:
    """A gzip file of members, about a thousandth of `size`, whose content repeats `unit`."""
    chunk = unit * max(1, (1 << 24) // len(unit))
    member = gzip.compress(chunk, 9, mtime=0)
    return (gzip.compress(head, mtime=0) if head else b"") + member * (size // len(chunk))


def parquet(columns: dict[str, pa.Array], **options: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, **{"compression": "zstd", "write_statistics": False, **options})
    return sink.getvalue()


def repeated(text: str, rows: int) -> pa.Array:
    """A column that holds a text once and refers to it in all rows."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text]))


def lists(sizes: Sequence[int], values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(np.cumsum([0, *sizes]), pa.int32()), values)


def parquet_of_footer(columns: int) -> bytes:
    """A Parquet file that is only a footer, with this many columns of three bytes in its one row group."""
    schema = b"\x48\x01s\x15\x02\x00", b"\x15\x0c\x25\x02\x18\x04text\x25\x00\x00"
    group = b"\x19" + _thrift_list(b"\x26\x00\x00" * columns, columns) + b"\x16\x00\x16\x02\x00"
    about = b"\x15\x02\x19" + _thrift_list(b"".join(schema), 2) + b"\x16\x02\x19" + _thrift_list(group, 1) + b"\x00"
    return b"PAR1" + about + len(about).to_bytes(4, "little") + b"PAR1"


def _thrift_list(structures: bytes, count: int) -> bytes:
    """A list of structures, in Thrift's compact form."""
    if count < 15:
        return bytes([count << 4 | 12]) + structures
    head = [0xFC]
    while count >= 0x80:
        head.append(count & 0x7F | 0x80)
        count >>= 7
    return bytes([*head, count]) + structures


class _Trap:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mknod, (str(self._path),)


def pickle_trap(path: Path, protocol: int = 4) -> bytes:
    """A pickle that makes `path` when it is read."""
    return pickle.dumps(_Trap(path), protocol)
