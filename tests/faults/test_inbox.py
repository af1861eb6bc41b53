"""What a scoring job does with the files of an inbox: each is scored once, and none is lost."""

import json
import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sql
import tiny_bundles
from inboxes import Inbox

from unroll.errors import BundleError, DataError
from unroll.files import sha256_of
from unroll.inference.scorer import Scorer
from unroll.scoring import job, places
from unroll.scoring.job import Model, score_inbox
from unroll.scoring.ledger import Entry, Ledger


def ledger_of(inbox: Inbox) -> list[dict[str, object]]:
    engine = sql.create_engine(inbox.ledger_url)
    with engine.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(sql.text("SELECT * FROM scored_files ORDER BY path"))]


def test_new_files_are_scored_once_and_stay(inbox: Inbox) -> None:
    inbox.put("a.parquet", 5)
    inbox.put("day=2026-01-01/part-0.parquet", 3, seed=1)
    report = inbox.score()
    sha = sha256_of(inbox.root / "inbox/a.parquet")
    assert [(one.file, one.rows_in, one.rows_scored) for one in report.of("scored")] == [
        ("a.parquet", 5, 5),
        ("day=2026-01-01/part-0.parquet", 3, 3),
    ]
    assert re.fullmatch(
        rf"{inbox.root}/predictions/scored_on=\d{{4}}-\d\d-\d\d/a-{sha[:8]}\.parquet", report.files[0].output or ""
    )
    assert inbox.names("predictions")[1].startswith("day=2026-01-01/part-0-")
    about = json.loads(pq.read_schema(report.files[0].output).metadata[b"unroll"])
    assert (about["source"], about["source_sha256"]) == ("a.parquet", sha)
    assert inbox.ids("predictions") == [0, 1, 2, 3, 4, 1000, 1001, 1002]
    again = inbox.score()
    assert (again.totals.scored, again.totals.known, again.lines()) == (0, 2, [])
    assert inbox.names("inbox") == ["a.parquet", "day=2026-01-01/part-0.parquet"]


def test_the_ledger_and_every_output_tell_the_registered_model(inbox: Inbox) -> None:
    inbox.put("a.parquet", 4, bad=(1,))
    registered = {"name": "digit-rows", "version": "3", "run_id": "r1"}
    asked: list[str] = []

    def resolve(address: str) -> Model:
        asked.append(address)
        return Model(inbox.root / "bundle", registered)

    report = score_inbox(
        inbox.scoring(model="models:/digit-rows@champion"), resolve=resolve, ledger_url=inbox.ledger_url
    )
    assert asked == ["models:/digit-rows@champion"]
    assert "digit-rows version 3" in report.summary()
    for place in ("predictions", "quarantine"):
        table = inbox.table(place, ".parquet")
        assert json.loads(table.schema.metadata[b"unroll"])["registered"] == registered
    assert set(inbox.table("predictions", ".parquet")["model_version"].to_pylist()) == {report.model_version}
    (row,) = ledger_of(inbox)
    wanted = {
        "path": "a.parquet", "state": "done", "registered_name": "digit-rows", "registered_version": "3", "rows_in": 4,
        "rows_scored": 3, "rows_quarantined": 1, "model_version": report.model_version,
    }  # fmt: skip
    assert wanted.items() <= row.items()
    assert row["size"] == (inbox.root / "inbox/a.parquet").stat().st_size


def test_an_empty_inbox_is_made_and_fine(inbox: Inbox) -> None:
    (inbox.root / "inbox").rmdir()
    report = inbox.score()
    assert report.files == ()
    assert report.model_version.startswith("tiny-digits@")


def test_the_same_bytes_put_again_are_not_scored_again(inbox: Inbox) -> None:
    content = inbox.put("a.parquet", 5)
    output = Path(inbox.score().files[0].output or "")
    before = output.stat()
    (inbox.root / "inbox/a.parquet").unlink()
    inbox.put_bytes("a.parquet", content)
    for _ in range(2):
        assert [one.state for one in inbox.score().files] == ["known"]
    assert output.stat().st_mtime_ns == before.st_mtime_ns


def test_what_is_known_is_not_read_again(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox.put("a.parquet", 5)
    inbox.score()
    monkeypatch.setattr(places, "sha256_of", lambda _: pytest.fail("the file was read"))
    assert inbox.score().totals.known == 1


def test_another_model_does_not_score_again(inbox: Inbox) -> None:
    inbox.put("a.parquet", 5)
    inbox.score()
    tiny_bundles.digits(inbox.root / "other", name="other")
    assert inbox.score(model=str(inbox.root / "other")).totals.known == 1


def test_changed_content_takes_the_place_of_the_old(inbox: Inbox) -> None:
    inbox.put("a.parquet", 5, bad=(0,))
    inbox.score()
    inbox.put("a.parquet", 4, seed=2)
    assert inbox.score().files[0].rows_scored == 4
    assert inbox.ids("predictions") == [2000, 2001, 2002, 2003]
    assert inbox.names("quarantine") == []
    assert inbox.ids("superseded") == [0, 1, 2, 3, 4]
    assert sorted(row["state"] for row in ledger_of(inbox)) == ["done", "superseded"]
    # And back again: the old content is new once more.
    inbox.put("a.parquet", 5, bad=(0,))
    inbox.score()
    assert inbox.ids("predictions") + inbox.ids("quarantine") == [1, 2, 3, 4, 0]
    assert inbox.ids("superseded") == [0, 1, 2, 3, 4, 2000, 2001, 2002, 2003]


def test_content_that_turns_bad_leaves_the_old_predictions(inbox: Inbox) -> None:
    inbox.put("a.parquet", 3)
    inbox.score()
    inbox.put_bytes("a.parquet", b"garbage")
    assert inbox.score().totals.rejected == 1
    assert inbox.ids("predictions") == [0, 1, 2]


def test_equal_content_under_two_names_gives_two_outputs(inbox: Inbox) -> None:
    content = inbox.put("a.parquet", 2)
    for name in ("a.pq", "a.PQ", "b.parquet", "sub/a.parquet"):
        inbox.put_bytes(name, content)
    assert len({one.output for one in inbox.score().of("scored")}) == 5
    assert inbox.ids("predictions") == sorted([0, 1] * 5)


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
    inbox: Inbox, name: str, content: bytes, reason: str
) -> None:
    inbox.put("a.parquet", 2)
    inbox.put_bytes(f"day=1/{name}", content)
    inbox.put("z.parquet", 2, seed=1)
    report = inbox.score()
    assert [one.file for one in report.of("scored")] == ["a.parquet", "z.parquet"]
    assert [one.file for one in report.of("rejected")] == [f"day=1/{name}"]
    assert inbox.names("inbox") == ["a.parquet", "z.parquet"]
    assert inbox.names("quarantine") == [f"day=1/{name}", f"day=1/{name}.reason.json"]
    assert inbox.content("quarantine", name) == content
    note = json.loads(inbox.content("quarantine", ".reason.json"))
    assert note["file"] == f"day=1/{name}"
    assert note["reason"] == report.of("rejected")[0].reason
    assert "put it into the inbox again" in note["what_to_do"]
    assert re.search(reason, note["reason"])


def test_a_truncated_file_is_rejected_whole(inbox: Inbox) -> None:
    content = inbox.put("a.parquet", 400)
    inbox.put_bytes("a.parquet", content[: len(content) // 2])
    inbox.put("b.parquet", 2, seed=1)
    report = inbox.score()
    assert [one.file for one in report.of("rejected")] == ["a.parquet"]
    assert inbox.ids("predictions") == [1000, 1001]
    inbox.put_bytes("a.parquet", content)  # mended
    inbox.score()
    assert inbox.ids("predictions") == [*range(400), 1000, 1001]


def test_two_bad_files_of_one_name_are_both_kept(inbox: Inbox) -> None:
    for content in (b"first", b"second", b"second"):
        inbox.put_bytes("a.parquet", content)
        assert inbox.score().totals.rejected == 1
    kept = [path.read_bytes() for path in (inbox.root / "quarantine").rglob("*.parquet")]
    assert sorted(kept) == [b"first", b"second"]


def test_a_rejected_file_that_is_put_again_is_tried_again(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox.put("a.parquet", 2)
    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "score", lambda *_: (_ for _ in ()).throw(DataError("a passing fault")))
        assert inbox.score().files[0].reason == "a passing fault"
    (rejected,) = (inbox.root / "quarantine").rglob("a.parquet")
    rejected.rename(inbox.root / "inbox/a.parquet")
    assert inbox.score().files[0].rows_scored == 2
    assert inbox.ids("predictions") == [0, 1]


def test_an_inbox_that_is_called_otherwise_is_the_same(inbox: Inbox) -> None:
    inbox.put("a.parquet", 2)
    inbox.score()
    (inbox.root / "link").symlink_to("inbox")
    for one in (f"{inbox.root}/link", f"{inbox.root}/predictions/../inbox"):
        assert inbox.score(input=one).totals.known == 1
    assert len(list((inbox.root / "state").glob("*.lock"))) == 1
    assert inbox.ids("predictions") == [0, 1]


def test_four_inboxes_with_the_same_file_share_an_output(inbox: Inbox) -> None:
    content = inbox.put("a.parquet", 2, bad=(1,))
    for name in ("inbox", "second", "third", "fourth"):
        (inbox.root / name).mkdir(exist_ok=True)
        (inbox.root / name / "a.parquet").write_bytes(content)
        assert inbox.score(input=inbox.address(name)).totals.scored == 1
    assert inbox.ids("predictions") == [0] * 4
    assert inbox.ids("quarantine") == [1] * 4


@pytest.mark.parametrize("kept", [False, True])
def test_a_mended_file_that_comes_while_the_old_one_is_rejected_stays(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    if kept:  # the same garbage came before, and stays with its note
        inbox.put_bytes("a.parquet", b"garbage")
        inbox.score()
    inbox.put_bytes("a.parquet", b"garbage")
    real = Ledger.rejected

    def rejected(self: Ledger, entry: Entry, reason: str) -> None:
        real(self, entry, reason)
        inbox.put("a.parquet", 3)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "rejected", rejected)
        (waits,) = inbox.score().files
    assert (waits.state, waits.reason) == ("waiting", "changed while it was read")
    assert inbox.names("quarantine") == (["a.parquet", "a.parquet.reason.json"] if kept else [])
    assert inbox.score().totals.scored == 1
    assert inbox.ids("predictions") == [0, 1, 2]


def test_what_is_still_being_written_waits(inbox: Inbox) -> None:
    inbox.put("ready.parquet", 2)
    os.utime(inbox.root / "inbox/ready.parquet", (0, 0))
    inbox.put("fresh.parquet", 2)
    hidden = (".hidden.parquet", "a.parquet.part", "b.tmp", "_SUCCESS", "_temporary/0/x.parquet", ".git/x.parquet")
    for name in hidden:
        inbox.put_bytes(name, b"half a fi")
    (inbox.root / "inbox/dangling.csv").symlink_to("nowhere")
    os.mkfifo(inbox.root / "inbox/pipe.csv")
    report = inbox.score(settle_seconds=60.0)
    assert [one.file for one in report.of("scored")] == ["ready.parquet"]
    reasons = {one.file: one.reason or "" for one in report.of("waiting")}
    assert set(reasons) == {*hidden, "dangling.csv", "fresh.parquet", "pipe.csv"}
    assert "60 s" in reasons["fresh.parquet"]
    assert not (inbox.root / "quarantine").exists()
    os.utime(inbox.root / "inbox/fresh.parquet", (0, 0))
    assert [one.file for one in inbox.score(settle_seconds=60.0).of("scored")] == ["fresh.parquet"]


def test_a_file_that_grows_under_an_old_date_waits(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = inbox.put("a.parquet", 2)
    path = inbox.root / "inbox/a.parquet"
    path.write_bytes(whole[:100])
    os.utime(path, (0, 0))

    def meanwhile(_: float) -> None:
        path.write_bytes(whole)
        os.utime(path, (0, 0))

    with monkeypatch.context() as patch:
        patch.setattr(job.time, "sleep", meanwhile)
        assert [one.reason for one in inbox.score(settle_seconds=5.0).of("waiting")] == ["changed while it was read"]
    assert [one.rows_scored for one in inbox.score().files] == [2]


@pytest.mark.parametrize("meanwhile", ["cut", "removed", "renamed", "replaced"])
def test_a_file_that_is_not_the_same_any_more_waits(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    inbox.put("a.parquet", 6, bad=(1,))
    path = inbox.root / "inbox/a.parquet"
    real = Scorer.score

    def score(self: Scorer, batch: pa.RecordBatch) -> pa.RecordBatch:
        if not path.exists():
            pass
        elif meanwhile == "cut":
            path.write_bytes(b"cut")
        elif meanwhile == "removed":
            path.unlink()
        elif meanwhile == "renamed":
            path.rename(path.with_name("b.parquet"))
        else:
            inbox.put("new.parquet", 4, seed=1)
            path.with_name("new.parquet").replace(path)
        return real(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "score", score)
        report = inbox.score()
    assert [(one.file, one.state, one.reason) for one in report.files] == [
        ("a.parquet", "waiting", "changed while it was read")
    ]
    assert inbox.names("predictions") == inbox.names("quarantine") == []
    if meanwhile != "renamed":
        inbox.put("a.parquet", 4, seed=1)
    inbox.score()
    found = [0, 2, 3, 4, 5] if meanwhile == "renamed" else [1000, 1001, 1002, 1003]
    assert inbox.ids("predictions") == found
    assert inbox.ids("quarantine") == ([1] if meanwhile == "renamed" else [])
    assert inbox.names("superseded") == []


def test_a_model_that_cannot_be_used_leaves_all_untouched(inbox: Inbox) -> None:
    inbox.put("a.parquet", 2)
    with (inbox.root / "bundle/model.onnx").open("ab") as file:
        file.write(b"\x00")
    for model, message in (("bundle", "was altered"), ("nothing", "there is no bundle")):
        with pytest.raises(BundleError, match=message):
            inbox.score(model=str(inbox.root / model))
    assert sorted(path.name for path in inbox.root.iterdir()) == ["bundle", "inbox"]


NAMES = [
    "x" * 240 + ".parquet",
    "/".join(["folder-of-forty-characters-and-then-some"] * 30) + "/a.parquet",
    "a b\n\t;$(x)'\".parquet",
    "back\\slash.parquet",
    "a*?[b].parquet",
    os.fsdecode(b"\xff\xfe.parquet"),
    "\u202egnp.parquet",
    "NUL.parquet",
    "..a.parquet".replace("..a", "a.."),
]


@pytest.mark.parametrize("name", NAMES)
def test_strange_names(inbox: Inbox, name: str) -> None:
    inbox.put(name, 2)
    report = inbox.score()
    assert [one.rows_scored for one in report.files] == [2]
    assert all(line["file"].isprintable() and line["what"].isprintable() for line in report.lines())
    assert inbox.score().totals.known == 1
    inbox.put_bytes(name, b"garbage")
    assert inbox.score().totals.rejected == 1
    assert inbox.names("inbox") == []
    assert len(inbox.names("quarantine")) == 2
    for place in ("predictions", "quarantine"):
        assert all(one.isprintable() and "\\" not in one for one in inbox.names(place))
