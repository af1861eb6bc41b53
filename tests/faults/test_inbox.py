"""Whatever happens to a scoring job, each row of each file is scored once, and nothing is lost."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles
from filelock import FileLock

from unroll.errors import BundleError, UnrollError
from unroll.files import read_json, sha256_of
from unroll.inference import inbox as inbox_module
from unroll.inference.inbox import InboxReport, score_inbox
from unroll.inference.ledger import Ledger
from unroll.inference.scorer import Scorer

# A scoring job that prints READY, and kills itself at the N-th call of a function, before or after it.
JOB = """
import os, signal, sys
from pathlib import Path
from unroll.inference import inbox, scorer
from unroll.inference.ledger import Ledger

root, when, owner, name, count = Path(sys.argv[1]), *sys.argv[2:5], int(sys.argv[5])
if when != "never":
    owner = {"Ledger": Ledger, "Path": Path, "inbox": inbox, "Scorer": scorer.Scorer}[owner]
    real, calls = getattr(owner, name), []

    def wrapped(*args, **options):
        calls.append(name)
        if when == "before" and len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **options)
        if when == "after" and len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, wrapped)
print("READY", flush=True)
report = inbox.score_inbox(
    root / "bundle", root / "inbox", root / "predictions", root / "quarantine", root / "state/ledger.sqlite",
    batch_rows=2, threads=1, settle_seconds=0.0,
)
print(*(one.file for one in report.scored), flush=True)
"""


@dataclass(frozen=True)
class Place:
    """The folders of one scoring job."""

    root: Path

    def put(self, name: str, rows: int, seed: int = 0) -> Path:
        path = self.root / "inbox" / name
        table = tiny_bundles.digits_table(tiny_bundles.images(rows, seed), row_id=np.arange(rows) + 1000 * seed)
        with path.open("wb") as file:
            pq.write_table(table, file)
        return path

    def put_bytes(self, name: str, content: bytes) -> Path:
        path = self.root / "inbox" / name
        path.write_bytes(content)
        return path

    def score(self, *, settle_seconds: float = 0.0, bundle: str = "bundle", lock_seconds: float = 60.0) -> InboxReport:
        return score_inbox(
            self.root / bundle,
            self.root / "inbox",
            self.root / "predictions",
            self.root / "quarantine",
            self.ledger,
            batch_rows=2,
            threads=1,
            settle_seconds=settle_seconds,
            lock_seconds=lock_seconds,
        )

    @property
    def ledger(self) -> Path:
        return self.root / "state/ledger.sqlite"

    def start(self, when: str = "never", owner: str = "-", name: str = "-", count: int = 1) -> subprocess.Popen[str]:
        arguments = [sys.executable, "-c", JOB, str(self.root), when, owner, name, str(count)]
        return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def names(self, folder: str) -> list[str]:
        return sorted(path.name for path in (self.root / folder).iterdir())

    def row_ids(self) -> list[int]:
        """Of all predictions together."""
        return [row for name in self.names("predictions") for row in self.rows_of(name)]

    def rows_of(self, name: str) -> list[int]:
        return pq.read_table(self.root / "predictions" / name)["row_id"].to_pylist()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    tiny_bundles.digits(tmp_path / "bundle")
    (tmp_path / "inbox").mkdir()
    return Place(tmp_path)


def test_new_files_are_scored_once_and_stay(place: Place) -> None:
    path = place.put("a.parquet", 5)
    place.put("b.parquet", 3, seed=1)
    report = place.score()
    sha = sha256_of(path)
    assert [(one.file, one.rows) for one in report.scored] == [("a.parquet", 5), ("b.parquet", 3)]
    assert report.scored[0].output == place.root / "predictions" / f"a-{sha[:8]}.parquet"
    about = json.loads(pq.read_schema(report.scored[0].output).metadata[b"unroll"])
    assert (about["source"], about["source_sha256"]) == ("a.parquet", sha)
    assert sorted(place.row_ids()) == [0, 1, 2, 3, 4, 1000, 1001, 1002]
    again = place.score()
    assert again.scored == again.rejected == again.waiting == ()
    assert again.already_done == ("a.parquet", "b.parquet")
    assert place.names("inbox") == ["a.parquet", "b.parquet"]


def test_an_empty_inbox_is_made_and_fine(place: Place) -> None:
    (place.root / "inbox").rmdir()
    report = place.score()
    assert (report.scored, report.waiting, report.rejected, report.already_done) == ((), (), (), ())
    assert report.model_version.startswith("tiny-digits@")


def test_the_same_bytes_put_again_are_not_scored_again(place: Place) -> None:
    path = place.put("a.parquet", 5)
    output = place.score().scored[0].output
    before = output.stat()
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    for _ in range(2):
        report = place.score()
        assert report.already_done == ("a.parquet",)
        assert report.scored == ()
    assert output.stat().st_mtime_ns == before.st_mtime_ns


def test_what_is_known_is_not_read_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.put("a.parquet", 5)
    place.score()
    monkeypatch.setattr(inbox_module, "sha256_of", lambda _: pytest.fail("the file was read"))
    assert place.score().already_done == ("a.parquet",)


def test_another_model_does_not_score_again(place: Place) -> None:
    place.put("a.parquet", 5)
    place.score()
    tiny_bundles.digits(place.root / "other", name="other")
    assert place.score(bundle="other").already_done == ("a.parquet",)


def test_changed_content_under_the_same_name_is_scored_beside_the_old(place: Place) -> None:
    place.put("a.parquet", 5)
    first = place.score().scored[0].output
    place.put("a.parquet", 4, seed=2)
    second = place.score().scored[0].output
    assert first != second
    assert sorted(place.row_ids()) == [0, 1, 2, 3, 4, 2000, 2001, 2002, 2003]


def test_equal_content_under_two_names_gives_two_outputs(place: Place) -> None:
    content = place.put("a.parquet", 2).read_bytes()
    for name in ("a.pq", "a.PQ", "b.parquet"):
        place.put_bytes(name, content)
    outputs = [one.output for one in place.score().scored]
    assert len(set(outputs)) == 4
    assert place.row_ids() == [0, 1] * 4


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("bad.parquet", b"this is no parquet file", "is no Parquet: it starts with b'this'"),
        ("bad.parquet", b"", r"bad\.parquet is empty"),
        ("bad.parquet", b"PAR1PAR1", "cannot be read"),
        ("bad.csv", b"a,b\n1,2\n", "expected 784 pixel columns"),
        ("bad.docx", b"PK\x03\x04", "no Parquet, no IDX"),
        ("labels", b"\x00\x00\x08\x01\x00\x00\x00\x00", "labels"),
    ],
)
def test_what_cannot_be_scored_is_set_aside_with_the_reason(
    place: Place, name: str, content: bytes, reason: str
) -> None:
    place.put("a.parquet", 2)
    place.put_bytes(name, content)
    place.put("z.parquet", 2, seed=1)
    report = place.score()
    assert [one.file for one in report.scored] == ["a.parquet", "z.parquet"]
    assert [one.file for one in report.rejected] == [name]
    assert place.names("inbox") == ["a.parquet", "z.parquet"]
    assert (place.root / "quarantine" / name).read_bytes() == content
    note = read_json(place.root / "quarantine" / f"{name}.reason.json")
    assert note["file"] == name
    assert note["reason"] == report.rejected[0].reason
    assert "put it into the inbox again" in note["what_to_do"]
    assert re.search(reason, note["reason"])


def test_two_bad_files_of_one_name_are_both_kept(place: Place) -> None:
    for content in (b"first", b"second", b"second"):
        place.put_bytes("a.parquet", content)
        assert len(place.score().rejected) == 1
    kept = [path.read_bytes() for path in sorted((place.root / "quarantine").iterdir()) if path.suffix == ".parquet"]
    assert sorted(kept) == [b"first", b"second"]


def test_a_rejected_file_that_is_put_again_is_tried_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.put("a.parquet", 2)
    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "score", lambda *_: (_ for _ in ()).throw(inbox_module.DataError("a passing fault")))
        assert place.score().rejected[0].reason == "a passing fault"
    (place.root / "quarantine/a.parquet").rename(place.root / "inbox/a.parquet")
    assert [one.rows for one in place.score().scored] == [2]
    assert place.row_ids() == [0, 1]


def test_what_is_still_being_written_waits(place: Place) -> None:
    place.put("ready.parquet", 2)
    os.utime(place.root / "inbox/ready.parquet", (0, 0))
    place.put("fresh.parquet", 2)
    for name in (".hidden.parquet", "a.parquet.part", "b.tmp"):
        place.put_bytes(name, b"half a fi")
    (place.root / "inbox/folder").mkdir()
    (place.root / "inbox/dangling.csv").symlink_to("nowhere")
    report = place.score(settle_seconds=0.5)
    assert [one.file for one in report.scored] == ["ready.parquet"]
    reasons = {one.file: one.reason for one in report.waiting}
    assert set(reasons) == {".hidden.parquet", "a.parquet.part", "b.tmp", "dangling.csv", "folder", "fresh.parquet"}
    assert "0.5 s" in reasons["fresh.parquet"]
    assert not (place.root / "quarantine").exists()
    os.utime(place.root / "inbox/fresh.parquet", (0, 0))
    assert [one.file for one in place.score(settle_seconds=0.5).scored] == ["fresh.parquet"]


def test_a_file_that_grows_under_an_old_date_waits(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    path = place.put("a.parquet", 2)
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    os.utime(path, (0, 0))

    def meanwhile(_: float) -> None:
        path.write_bytes(whole)
        os.utime(path, (0, 0))

    monkeypatch.setattr(inbox_module.time, "sleep", meanwhile)
    assert [one.reason for one in place.score(settle_seconds=5.0).waiting] == ["changed while it was read"]
    monkeypatch.undo()
    assert [one.rows for one in place.score().scored] == [2]


@pytest.mark.parametrize("content", [b"cut", None])
def test_a_file_that_changes_while_it_is_scored_waits(
    place: Place, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    path = place.put("a.parquet", 6)
    real = Scorer.score

    def meanwhile(self: Scorer, batch: pa.RecordBatch) -> pa.RecordBatch:
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(content)
        return real(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "score", meanwhile)
        report = place.score()
    assert [(one.file, one.reason) for one in report.waiting] == [("a.parquet", "changed while it was read")]
    assert report.rejected == report.scored == ()
    assert place.names("predictions") == []
    place.put("a.parquet", 4, seed=1)
    assert [one.rows for one in place.score().scored] == [4]


def test_an_altered_model_leaves_the_inbox_untouched(place: Place) -> None:
    place.put("a.parquet", 2)
    with (place.root / "bundle/model.onnx").open("ab") as file:
        file.write(b"\x00")
    with pytest.raises(BundleError, match="was altered"):
        place.score()
    assert sorted(path.name for path in place.root.iterdir()) == ["bundle", "inbox"]


@pytest.mark.parametrize("name", ["x" * 240 + ".parquet", "a b\n\t;$(x)'\".parquet", os.fsdecode(b"\xff\xfe.parquet")])
def test_strange_names(place: Place, name: str) -> None:
    place.put(name, 2)
    assert [one.rows for one in place.score().scored] == [2]
    assert len(place.score().already_done) == 1
    place.put_bytes(name, b"garbage")
    assert len(place.score().rejected) == 1
    assert place.names("inbox") == []
    assert len(place.names("quarantine")) == 2


def test_tickers_that_cannot_be_scored_are_in_the_report(place: Place) -> None:
    tiny_bundles.last_price(place.root / "prices")
    days = [date(2018, 8, day) for day in (22, 23, 24)]
    table = pa.table({"ticker": ["A"] * 3 + ["NEW"], "date": [*days, days[0]], "close": [1.0, 2.0, 3.0, 4.0]})
    pq.write_table(table, place.root / "inbox/p.parquet")
    (scored,) = place.score(bundle="prices").scored
    assert scored.rows == 1
    assert [(one.what, one.reason) for one in scored.skipped] == [("NEW", "has 1 rows, the model needs 3")]


def test_a_job_that_waits_too_long_for_another_says_so(place: Place) -> None:
    place.ledger.parent.mkdir()
    with (
        FileLock(f"{place.ledger}.lock"),
        pytest.raises(UnrollError, match=r"another scoring job has held .*ledger\.sqlite\.lock for 0\.1 s"),
    ):
        place.score(lock_seconds=0.1)


def test_a_ledger_that_is_no_database_is_a_clear_error(place: Place) -> None:
    place.put("a.parquet", 2)
    place.ledger.parent.mkdir()
    place.ledger.write_text("no database, " * 100)
    with pytest.raises(UnrollError, match=r"the ledger .* cannot be used: file is not a database"):
        place.score()


def test_two_jobs_at_once_share_the_files(place: Place) -> None:
    for seed in range(12):
        place.put(f"{seed:02}.parquet", 3, seed)
    jobs = [place.start() for _ in range(2)]
    scored = []
    for job in jobs:
        out, error = job.communicate(timeout=120)
        assert job.returncode == 0, error
        scored += out.split()[1:]
    assert sorted(scored) == [f"{seed:02}.parquet" for seed in range(12)]
    assert len(place.row_ids()) == len(set(place.row_ids())) == 36


def put_texts(place: Place, name: str, texts: list[str | None], first: int = 0) -> Path:
    """A file for the tiny classifier, which takes the digits' place."""
    if not (place.root / "bundle/text.tokenizer.json").exists():
        tiny_bundles.classifier(place.root / "bundle")
    path = place.root / "inbox" / name
    ids = np.arange(first, first + len(texts))
    with path.open("wb") as file:
        pq.write_table(pa.table({"row_id": ids, "text": pa.array(texts, pa.string())}), file)
    return path


def aside_of(place: Place, path: Path) -> Path:
    return place.root / "quarantine" / f"{path.stem}-{sha256_of(path)[:8]}.quarantine.parquet"


def test_rows_that_cannot_be_scored_go_to_quarantine_and_the_file_stays(place: Place) -> None:
    path = put_texts(place, "t.parquet", ["a", "", "b", None, "c d e f g h a"])
    (scored,) = place.score().scored
    aside = aside_of(place, path)
    assert (scored.rows, scored.set_aside and scored.set_aside.rows) == (3, 2)
    assert place.names("inbox") == ["t.parquet"]
    assert place.names("quarantine") == [aside.name]
    assert sorted(place.row_ids() + pq.read_table(aside)["row_id"].to_pylist()) == list(range(5))
    assert pq.read_table(aside)["reason"].to_pylist() == ["the text is empty", "the text is missing"]
    for output in (scored.output, aside):
        about = json.loads(pq.read_schema(output).metadata[b"unroll"])
        assert (about["source_sha256"], about["rows"], about["set_aside"]) == (sha256_of(path), 3, 2)
    with Ledger(place.ledger) as ledger:
        entry = ledger.entry("t.parquet", sha256_of(path))
        assert entry is not None
        assert (entry.state, entry.rows, entry.set_aside) == ("done", 3, 2)
    assert place.score().already_done == ("t.parquet",)


def test_a_report_tells_rows_set_aside_and_cut(place: Place) -> None:
    path = put_texts(place, "t.parquet", ["a", "", "c d e f g h a"])
    (line,) = place.score().lines()
    assert (line["file"], line["state"]) == ("t.parquet", "scored")
    assert "2 rows in" in line["what"]
    assert f"1 rows set aside in {aside_of(place, path)}; the first is 1: the text is empty" in line["what"]
    assert "1 rows cut to the length that the model reads" in line["what"]


def test_a_file_whose_every_row_is_set_aside_is_rejected_whole(place: Place) -> None:
    put_texts(place, "t.parquet", ["", " "])
    report = place.score()
    assert [one.file for one in report.rejected] == ["t.parquet"]
    assert "none of 2 rows can be scored" in report.rejected[0].reason
    assert place.names("inbox") == place.names("predictions") == []
    assert place.names("quarantine") == ["t.parquet", "t.parquet.reason.json"]


def test_mended_rows_that_cannot_be_scored_do_not_replace_others(place: Place) -> None:
    """The rows that were set aside come back under the name that their file had, and are no Parquet at all."""
    aside = aside_of(place, put_texts(place, "t.parquet", ["a", ""]))
    place.score()
    content = aside.read_bytes()
    place.put_bytes(aside.name, b"mended with a text editor")
    (rejected,) = place.score().rejected
    assert rejected.file == aside.name
    assert aside.read_bytes() == content
    kept = [name for name in place.names("quarantine") if name.endswith(f"-{aside.name}")]
    assert (place.root / "quarantine" / kept[0]).read_bytes() == b"mended with a text editor"


@pytest.mark.parametrize(
    "step",
    [
        ("after", "Scorer", "_score", 1),
        ("before", "Path", "replace", 1),
        ("after", "Path", "replace", 1),
        ("after", "Path", "replace", 2),
        ("before", "Ledger", "done", 1),
    ],
    ids=lambda step: "-".join(map(str, step)),
)
def test_killed_with_rows_set_aside_and_run_again(place: Place, step: tuple[str, str, str, int]) -> None:
    path = put_texts(place, "t.parquet", ["a", "", "b", None, "c"])
    job = place.start(*step)
    _, error = job.communicate(timeout=120)
    assert job.returncode == -signal.SIGKILL, error
    (scored,) = place.score().scored
    assert scored.rows == 3
    assert sorted(place.row_ids() + pq.read_table(aside_of(place, path))["row_id"].to_pylist()) == list(range(5))
    for folder in ("predictions", "quarantine"):
        assert len(place.names(folder)) == 1  # nothing half-written beside it


def test_a_file_that_changes_leaves_no_rows_in_quarantine(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put_texts(place, "t.parquet", ["a", ""])
    real = Scorer.score

    def meanwhile(self: Scorer, batch: pa.RecordBatch) -> pa.RecordBatch:
        path.write_bytes(b"other")
        return real(self, batch)

    monkeypatch.setattr(Scorer, "score", meanwhile)
    assert [one.reason for one in place.score().waiting] == ["changed while it was read"]
    assert place.names("predictions") == []
    assert place.names("quarantine") == []


STEPS = [
    ("before", "Ledger", "claim", 1),
    ("after", "Ledger", "claim", 1),
    ("after", "Scorer", "score", 2),
    ("before", "Path", "replace", 1),
    ("after", "Path", "replace", 1),
    ("before", "Ledger", "done", 2),
    ("after", "Ledger", "done", 1),
    ("before", "Ledger", "rejected", 1),
    ("after", "Ledger", "rejected", 1),
    ("after", "inbox", "write_json", 1),
    ("after", "inbox", "_move", 1),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: "-".join(map(str, step)))
def test_killed_at_a_step_and_run_again(place: Place, step: tuple[str, str, str, int]) -> None:
    place.put("a.parquet", 5, seed=1)
    bad = place.put_bytes("b.parquet", b"garbage")
    place.put("c.parquet", 7, seed=2)
    job = place.start(*step)
    _, error = job.communicate(timeout=120)
    assert job.returncode == -signal.SIGKILL, error
    place.score()
    assert sorted(place.row_ids()) == [*range(1000, 1005), *range(2000, 2007)]
    assert len(place.names("predictions")) == 2  # nothing half-written beside them
    assert not bad.exists()
    assert read_json(place.root / "quarantine/b.parquet.reason.json")["file"] == "b.parquet"
    assert (place.root / "quarantine/b.parquet").read_bytes() == b"garbage"
    with Ledger(place.ledger) as ledger:
        states = {
            name: ledger.entry(name, sha256_of(folder / name)).state
            for folder, name in (
                (place.root / "inbox", "a.parquet"),
                (place.root / "quarantine", "b.parquet"),
                (place.root / "inbox", "c.parquet"),
            )
        }
    assert states == {"a.parquet": "done", "b.parquet": "rejected", "c.parquet": "done"}
    assert place.score().already_done == ("a.parquet", "c.parquet")


def test_a_disk_that_is_full_stops_the_job_and_rejects_nothing(place: Place) -> None:
    ids = np.random.default_rng(0).integers(0, 2**62, 20_000)
    blank = np.zeros((len(ids), 784), np.uint8)
    pq.write_table(tiny_bundles.digits_table(blank, row_id=ids), place.root / "inbox/a.parquet")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    arguments = [sys.executable, "-c", limit + JOB, str(place.root), "never", "-", "-", "1"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert re.search(r"UnrollError: .*a-[0-9a-f]{8}\.parquet cannot be written: .*; make room", done.stderr)
    assert place.names("predictions") == []
    assert place.names("inbox") == ["a.parquet"]
    place.score()
    assert place.row_ids() == ids.tolist()


def test_killed_at_random_moments_and_run_again(place: Place) -> None:
    moments = random.Random(7)
    for seed in range(40):
        place.put(f"{seed:02}.parquet", 20, seed)
    killed = 0
    for _ in range(5):
        job = place.start()
        assert job.stdout is not None
        assert job.stdout.readline() == "READY\n"
        time.sleep(moments.uniform(0.0, 0.1))
        job.kill()
        job.communicate()
        killed += job.returncode == -signal.SIGKILL
    assert killed  # a fast machine may be through before the later ones
    place.score()
    rows = place.row_ids()
    assert len(place.names("predictions")) == 40
    assert sorted(rows) == sorted(1000 * seed + row for seed in range(40) for row in range(20))
