"""What a scoring job does with the rows of a file: each is scored once or set aside, whatever the file's size."""

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

from unroll.scoring.job import score_inbox


def test_rows_that_cannot_be_scored_go_to_quarantine_and_the_file_stays(inbox: Inbox) -> None:
    inbox.put("a.parquet", 7, bad=(2, 5))
    report = inbox.score()
    (scored,) = report.files
    assert (scored.rows_in, scored.rows_scored, scored.rows_quarantined) == (7, 5, 2)
    assert inbox.names("inbox") == ["a.parquet"]
    aside = inbox.table("quarantine", ".quarantine.parquet")
    assert aside.to_pylist() == [{"row_id": row, "reason": "the pixels are missing"} for row in (2, 5)]
    assert inbox.ids("predictions") == [0, 1, 3, 4, 6]
    for place in ("predictions", "quarantine"):
        about = json.loads(inbox.table(place, ".parquet").schema.metadata[b"unroll"])
        assert (about["rows"], about["set_aside"]) == (5, 2)
    (line,) = report.lines()
    assert f"2 rows set aside in {scored.quarantine}; the first is 2: the pixels are missing" in line["what"]
    assert "7 rows in, 5 scored, 2 set aside" in report.summary()
    assert inbox.score().totals.known == 1


def test_a_check_sets_rows_aside_too(inbox: Inbox) -> None:
    inbox.put("a.parquet", 6, bad=(1,))
    sizes = []

    def check(rows: pa.RecordBatch) -> dict[int, str]:
        sizes.append(len(rows))
        return {2: "too dark"}

    report = score_inbox(inbox.scoring(), ledger_url=inbox.ledger_url, check=lambda _: check)
    assert sizes == [5]  # those that could be scored, all together
    assert (report.totals.rows_scored, report.totals.rows_quarantined) == (4, 2)
    assert inbox.table("quarantine", ".parquet").to_pylist() == [
        {"row_id": 1, "reason": "the pixels are missing"},
        {"row_id": 3, "reason": "too dark"},
    ]


def test_too_many_bad_rows_stop_the_file(inbox: Inbox) -> None:
    content = inbox.put("a.parquet", 10, bad=(0, 1))
    inbox.put("b.parquet", 10, seed=1, bad=(0,))
    report = inbox.score(max_bad_share=0.1)
    assert [(one.file, one.state) for one in report.files] == [("a.parquet", "rejected"), ("b.parquet", "scored")]
    assert "2 of 10 rows cannot be scored, more than the share of 0.1 that may be set aside" in str(
        report.files[0].reason
    )
    assert inbox.content("quarantine", "/a.parquet") == content
    assert inbox.ids("predictions") == list(range(1001, 1010))


def test_a_file_whose_every_row_is_set_aside_is_rejected_whole(inbox: Inbox) -> None:
    inbox.put("a.parquet", 2, bad=(0, 1))
    report = inbox.score(max_bad_share=1.0)
    assert "none of 2 rows can be scored" in (report.files[0].reason or "")
    assert inbox.names("inbox") == inbox.names("predictions") == []
    assert inbox.names("quarantine") == ["a.parquet", "a.parquet.reason.json"]


def test_mended_rows_do_not_replace_those_that_were_set_aside(inbox: Inbox) -> None:
    """They come back under the name that their file had, and are no Parquet at all."""
    inbox.put("a.parquet", 2, bad=(1,))
    inbox.score()
    (name,) = inbox.names("quarantine")
    content = inbox.content("quarantine", name)
    inbox.put_bytes(name, b"mended with a text editor")
    (rejected,) = inbox.score().of("rejected")
    assert rejected.file == name
    assert inbox.content("quarantine", f"/{name}") == content
    assert inbox.content("quarantine", f"-{name}") == b"mended with a text editor"


def test_tickers_that_cannot_be_scored_are_rows_set_aside(inbox: Inbox) -> None:
    tiny_bundles.last_price(inbox.root / "prices")
    days = [date(2018, 8, day) for day in (22, 23, 24)]
    table = pa.table({"ticker": ["A"] * 3 + ["NEW"], "date": [*days, days[0]], "close": [1.0, 2.0, 3.0, 4.0]})
    pq.write_table(table, inbox.root / "inbox/p.parquet")
    (scored,) = inbox.score(model=str(inbox.root / "prices")).files
    assert (scored.rows_in, scored.rows_scored) == (2, 1)
    assert inbox.table("quarantine", ".parquet").to_pylist() == [
        {"row_id": "NEW@2018-08-22", "reason": "has 1 rows, the model needs 3"}
    ]


def test_neither_memory_nor_threads_show_in_what_is_written(inbox: Inbox) -> None:
    pixels = tiny_bundles.images(3000)
    pq.write_table(tiny_bundles.digits_table(pixels, row_id=np.arange(3000)), inbox.root / "inbox/a.parquet")
    found = []
    for changes in ({"threads": 1, "batch_rows": 7}, {"threads": 3, "batch_rows": 512, "memory_mb": 256}):
        places = {"output": inbox.address(f"out-{len(found)}"), "quarantine": inbox.address(f"bad-{len(found)}")}
        other = Inbox(inbox.root, url=f"sqlite:///{inbox.root}/{len(found)}.sqlite")
        other.score(**places, **changes)
        found.append(other.table(f"out-{len(found)}", ".parquet"))
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """80,000 images, 63 MB, and 320,000; docs/reliability.md has what 2 GB took."""
    tiny_bundles.digits(tmp_path / "bundle")
    pixels = tiny_bundles.images(20_000)
    column = pa.array([row.tobytes() for row in pixels], pa.binary(784))
    code = (
        "import re, sys; sys.path[:0] = sys.argv[3:]\n"
        "from pathlib import Path; from inboxes import Inbox\n"
        "report = Inbox(Path(sys.argv[1])).score(input=sys.argv[2], threads=2, batch_rows=512)\n"
        "print(report.totals.rows_scored, re.search(r'VmHWM:\\s*(\\d+)', Path('/proc/self/status').read_text())[1])"
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
