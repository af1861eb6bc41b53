"""What a scoring job does with the rows of a file: each is scored once or quarantined, whatever the file's size."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles
from inboxes import Inbox


def test_rows_that_cannot_be_scored_go_to_quarantine(inbox: Inbox) -> None:
    inbox.put("a.parquet", 7, bad=(2, 5))
    (scored,) = inbox.score().files
    assert (scored.rows_in, scored.rows_scored, scored.rows_quarantined) == (7, 5, 2)
    aside = inbox.table("quarantine", "a.parquet.parquet")
    assert aside.to_pylist() == [{"row_id": row, "reason": "the pixels are missing"} for row in (2, 5)]
    assert inbox.ids("predictions") == [0, 1, 3, 4, 6]
    for place in ("predictions", "quarantine"):
        about = json.loads(inbox.table(place, "a.parquet.parquet").schema.metadata[b"unroll"])
        assert (about["rows"], about["quarantined"]) == (5, 2)


def test_too_many_bad_rows_reject_the_file(inbox: Inbox) -> None:
    inbox.put("a.parquet", 10, bad=(0, 1))
    inbox.put("b.parquet", 10, seed=1, bad=(0,))
    inbox.put("c.parquet", 2, seed=2, bad=(0, 1))
    assert inbox.states(max_bad_share=0.1) == {"a.parquet": "rejected", "b.parquet": "scored", "c.parquet": "rejected"}
    assert inbox.ids("predictions") == list(range(1001, 1010))
    (inbox.root / "inbox/c.parquet").touch()
    assert inbox.states(max_bad_share=1.0)["c.parquet"] == "rejected"  # not one row of it can be scored


def test_tickers_that_cannot_be_scored_are_rows_set_aside(inbox: Inbox) -> None:
    tiny_bundles.last_price(inbox.root / "prices")
    days = [date(2018, 8, day) for day in (22, 23, 24)]
    table = pa.table({"ticker": ["A"] * 3 + ["NEW"], "date": [*days, days[0]], "close": [1.0, 2.0, 3.0, 4.0]})
    pq.write_table(table, inbox.root / "inbox/p.parquet")
    (scored,) = inbox.score(model=str(inbox.root / "prices")).files
    assert (scored.rows_in, scored.rows_scored) == (2, 1)
    assert inbox.table("quarantine", "p.parquet.parquet").to_pylist() == [
        {"row_id": "NEW@2018-08-22", "reason": "has 1 rows, the model needs 3"}
    ]


def test_neither_memory_nor_threads_show_in_what_is_written(inbox: Inbox) -> None:
    pixels = tiny_bundles.images(3000)
    pq.write_table(tiny_bundles.digits_table(pixels, row_id=np.arange(3000)), inbox.root / "inbox/a.parquet")
    found = []
    for changes in ({"threads": 1, "batch_rows": 7}, {"threads": 3, "batch_rows": 512, "memory_mb": 256}):
        place = f"out-{len(found)}"
        inbox.score(output=inbox.address(place), **changes)
        found.append(inbox.table(place, "a.parquet.parquet"))
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """80,000 images, 63 MB, and 320,000, by the job and its worker together."""
    tiny_bundles.digits(tmp_path / "bundle")
    pixels = tiny_bundles.images(20_000)
    column = pa.array([row.tobytes() for row in pixels], pa.binary(784))
    code = (
        "import re, resource, sys; sys.path[:0] = sys.argv[3:]\n"
        "from pathlib import Path; from inboxes import Inbox\n"
        "places = dict(input=sys.argv[2], output=sys.argv[2] + '-out', quarantine=sys.argv[2] + '-bad')\n"
        "report = Inbox(Path(sys.argv[1])).score(**places, threads=2, batch_rows=512)\n"
        "peak = re.search(r'VmHWM:\\s*(\\d+)', Path('/proc/self/status').read_text())[1]\n"
        "worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n"
        "print(report.counts()['rows_scored'], int(peak) + worker)"
    )
    peaks = []
    for times in (4, 16):
        folder = tmp_path / f"in-{times}"
        folder.mkdir()
        table = pa.table({"pixels": pa.chunked_array([column] * times)})
        pq.write_table(table, folder / "a.parquet", compression="none", use_dictionary=False)
        command = [sys.executable, "-c", code, str(tmp_path), str(folder), str(Path(__file__).parents[1])]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows, peak = map(int, done.stdout.split())
        assert rows == 20_000 * times
        peaks.append(peak)
    assert peaks[1] < 500_000  # KiB
    assert peaks[1] < 1.3 * peaks[0], peaks
