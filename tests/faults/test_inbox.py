"""What a scoring job does with the files of an inbox: each is scored once, and none is lost."""

import json
import os

import pyarrow as pa
import pytest

from unroll.errors import BundleError, ParameterError, UnrollError
from unroll.files import sha256_of
from unroll.inference.file_scorer import FileScorer
from unroll.scoring import job, storage
from unroll.scoring.job import score_inbox


def test_new_files_are_scored_once_and_stay(inbox):
    inbox.put("a.parquet", 5, bad=(1,))
    inbox.put("day=2026-01-01/part-0.parquet", 3, seed=1)
    report = inbox.score()
    assert [(one.file, one.rows_in, one.rows_scored) for one in report.of("scored")] == [
        ("a.parquet", 5, 4),
        ("day=2026-01-01/part-0.parquet", 3, 3),
    ]
    assert list(inbox.files("predictions")) == ["a.parquet.parquet", "day=2026-01-01/part-0.parquet.parquet"]
    assert list(inbox.files("quarantine")) == ["a.parquet.parquet"]
    about = json.loads(inbox.table("predictions", "a.parquet.parquet").schema.metadata[b"unroll"])
    sha256 = sha256_of(inbox.root / "inbox/a.parquet")
    assert (about["source"], about["source_sha256"]) == ("a.parquet", sha256)
    marker = inbox.markers()["a.parquet"]
    found = {name: marker[name] for name in ("state", "sha256", "rows_in", "rows_scored", "rows_quarantined")}
    assert found == {"state": "scored", "sha256": sha256, "rows_in": 5, "rows_scored": 4, "rows_quarantined": 1}
    assert marker["model_version"] == report.model_version
    before = inbox.files("predictions")
    again = inbox.score()
    assert (again.counts()["scored"], again.counts()["known"], again.lines()) == (0, 2, [])
    assert inbox.files("predictions") == before
    assert list(inbox.files("inbox")) == ["a.parquet", "day=2026-01-01/part-0.parquet"]


def test_marker_and_outputs_name_the_registered_model(inbox, monkeypatch):
    inbox.put("a.parquet", 4, bad=(1,))
    registered = {"name": "digit-rows", "version": "3", "run_id": "r1"}
    asked: list[str] = []

    def find_model(address):
        asked.append(address)
        return inbox.root / "bundle", registered

    monkeypatch.setattr(job, "find_model", find_model)
    scoring = inbox.scoring(model="models:/digit-rows@champion")
    report = score_inbox(scoring, staging=inbox.root / "staging")
    score_inbox(scoring, staging=inbox.root / "staging")
    assert asked == ["models:/digit-rows@champion"]  # nothing is new to the second job
    assert report.registered == inbox.markers()["a.parquet"]["registered"] == registered
    for place in ("predictions", "quarantine"):
        about = json.loads(inbox.table(place, "a.parquet.parquet").schema.metadata[b"unroll"])
        assert about["registered"] == registered
    versions = inbox.table("predictions", "a.parquet.parquet")["model_version"]
    assert set(versions.to_pylist()) == {report.model_version}


def test_an_empty_inbox_is_made_and_needs_no_model(inbox):
    (inbox.root / "inbox").rmdir()
    report = inbox.score(model="nowhere")
    assert (report.files, report.model_version) == ((), None)


def test_a_touched_file_is_not_scored_again(inbox):
    inbox.put("a.parquet", 5)
    inbox.score()
    before = (inbox.root / "predictions/a.parquet.parquet").stat()
    version = inbox.markers()["a.parquet"]["version"]
    os.utime(inbox.root / "inbox/a.parquet")
    assert inbox.states() == {"a.parquet": "known"}
    assert (inbox.root / "predictions/a.parquet.parquet").stat() == before
    assert inbox.markers()["a.parquet"]["version"] != version


def test_changed_content_replaces_predictions_and_quarantine(inbox):
    inbox.put("a.parquet", 5, bad=(0,))
    inbox.score()
    inbox.put("a.parquet", 4, seed=2)
    assert inbox.score().files[0].rows_scored == 4
    assert inbox.ids("predictions") == [2000, 2001, 2002, 2003]
    assert inbox.files("quarantine") == {}
    inbox.put("a.parquet", 5, bad=(0,))
    inbox.score()
    assert (inbox.ids("predictions"), inbox.ids("quarantine")) == ([1, 2, 3, 4], [0])
    assert len(inbox.markers()) == 1


def test_a_file_that_is_removed_keeps_its_predictions(inbox):
    content = inbox.put("a.parquet", 2)
    inbox.score()
    (inbox.root / "inbox/a.parquet").unlink()
    assert inbox.score().files == ()
    assert inbox.ids("predictions") == [0, 1]
    inbox.put_bytes("a.parquet", content)
    assert inbox.states() == {"a.parquet": "known"}


def test_content_that_turns_bad_leaves_the_old_predictions(inbox):
    content = inbox.put("a.parquet", 3, bad=(1,))
    inbox.score()
    inbox.put_bytes("a.parquet", b"garbage")
    assert inbox.states() == {"a.parquet": "rejected"}
    assert (inbox.ids("predictions"), inbox.ids("quarantine")) == ([0, 2], [1])
    inbox.put_bytes("a.parquet", content)
    assert inbox.states() == {"a.parquet": "scored"}
    assert list(inbox.files("quarantine")) == ["a.parquet.parquet"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bad.parquet", b"this is no parquet file"),
        ("bad.parquet", b""),
        ("bad.csv", b"a,b\n1,2\n"),
    ],
)
def test_a_file_that_cannot_be_scored_stays_and_gets_a_reason(inbox, name, content):
    inbox.put("a.parquet", 2)
    inbox.put_bytes(f"day=1/{name}", content)
    inbox.put("z.parquet", 2, seed=1)
    report = inbox.score()
    assert [one.file for one in report.of("scored")] == ["a.parquet", "z.parquet"]
    (rejected,) = report.of("rejected")
    assert list(inbox.files("quarantine")) == [f"day=1/{name}.reason.json"]
    note = json.loads(inbox.files("quarantine")[f"day=1/{name}.reason.json"])
    assert (note["file"], note["reason"]) == (rejected.file, rejected.reason) == (f"day=1/{name}", rejected.reason)
    assert inbox.markers()[f"day=1/{name}"]["state"] == "rejected"
    assert inbox.files("inbox")[f"day=1/{name}"] == content
    assert inbox.score().counts()["known"] == 3


def test_too_many_bad_rows_reject_the_file(inbox):
    inbox.put("a.parquet", 10, bad=(0, 1))
    inbox.put("b.parquet", 10, seed=1, bad=(0,))
    inbox.put("c.parquet", 2, seed=2, bad=(0, 1))
    assert inbox.states(max_bad_share=0.1) == {"a.parquet": "rejected", "b.parquet": "scored", "c.parquet": "rejected"}
    assert inbox.ids("predictions") == list(range(1001, 1010))
    (inbox.root / "inbox/c.parquet").touch()
    assert inbox.states(max_bad_share=1.0)["c.parquet"] == "rejected"  # not one row of it can be scored


def test_a_rejected_file_that_is_touched_is_tried_again(inbox):
    inbox.put("a.parquet", 4, bad=(0, 1, 2))
    assert inbox.states() == {"a.parquet": "rejected"}
    os.utime(inbox.root / "inbox/a.parquet")
    assert inbox.states(max_bad_share=0.8) == {"a.parquet": "scored"}


def test_what_is_still_being_written_waits(inbox):
    inbox.put("ready.parquet", 2)
    os.utime(inbox.root / "inbox/ready.parquet", (0, 0))
    inbox.put("fresh.parquet", 2)
    hidden = (".hidden.parquet", "a.parquet.part", "b.tmp", "_temporary/0/x.parquet", ".git/x.parquet")
    for name in hidden:
        inbox.put_bytes(name, b"half a fi")
    for name in ("x/_SUCCESS", "x/.part-0.parquet.crc", "x/year=2024/_metadata"):
        inbox.put_bytes(name, b"no file to score")
    (inbox.root / "inbox/dangling.csv").symlink_to("nowhere")
    os.mkfifo(inbox.root / "inbox/pipe.csv")
    report = inbox.score(settle_seconds=60.0)
    assert [one.file for one in report.of("scored")] == ["ready.parquet"]
    assert {one.file for one in report.of("waiting")} == {*hidden, "dangling.csv", "fresh.parquet", "pipe.csv"}
    assert not (inbox.root / "quarantine").exists()
    os.utime(inbox.root / "inbox/fresh.parquet", (0, 0))
    assert [one.file for one in inbox.score(settle_seconds=60.0).of("scored")] == ["fresh.parquet"]


def test_a_file_that_grows_under_an_old_date_waits(inbox, monkeypatch):
    whole = inbox.put("a.parquet", 2)
    path = inbox.root / "inbox/a.parquet"
    path.write_bytes(whole[:100])
    os.utime(path, (0, 0))

    def meanwhile(_):
        path.write_bytes(whole)
        os.utime(path, (0, 0))

    with monkeypatch.context() as patch:
        patch.setattr(job.time, "sleep", meanwhile)
        assert inbox.states(settle_seconds=5.0) == {"a.parquet": "waiting"}
    assert inbox.states() == {"a.parquet": "scored"}


@pytest.mark.parametrize("meanwhile", ["cut", "removed", "renamed", "same size and date"])
def test_a_file_that_changes_while_it_is_read_waits(inbox, monkeypatch, meanwhile):
    content = inbox.put("a.parquet", 6, bad=(1,))
    path = inbox.root / "inbox/a.parquet"
    real = FileScorer.score_file

    def score(self, *args, **options):
        done = real(self, *args, **options)
        if meanwhile == "cut":
            path.write_bytes(b"cut")
        elif meanwhile == "removed":
            path.unlink()
        elif meanwhile == "renamed":
            path.rename(path.with_name("b.parquet"))
        else:
            status = path.stat()
            path.write_bytes(content[::-1])
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        return done

    with monkeypatch.context() as patch:
        patch.setattr(FileScorer, "score_file", score)
        assert inbox.states() == {"a.parquet": "waiting"}
    assert inbox.files("predictions") == inbox.files("quarantine") == inbox.markers() == {}
    if meanwhile == "renamed":
        assert inbox.states() == {"b.parquet": "scored"}
    else:
        inbox.put("a.parquet", 4, seed=1)
        assert inbox.states() == {"a.parquet": "scored"}
        assert inbox.ids("predictions") == [1000, 1001, 1002, 1003]


@pytest.mark.parametrize("model", ["bundle", "nothing"])
def test_a_model_that_cannot_be_used_leaves_all_untouched(inbox, model):
    inbox.put("a.parquet", 2)
    with (inbox.root / "bundle/model.onnx").open("ab") as file:
        file.write(b"\x00")
    with pytest.raises(BundleError):
        inbox.score(model=str(inbox.root / model))
    assert sorted(path.name for path in inbox.root.iterdir()) == ["bundle", "inbox"]


def test_folders_inside_one_another_are_refused(inbox):
    for changes in (
        {"output": inbox.address("inbox/predictions")},
        {"quarantine": inbox.address("predictions")},
        {"input": str(inbox.root)},
        {"input": "memory://a", "output": "memory://a/b"},
    ):
        with pytest.raises(ParameterError):
            inbox.score(**changes)


def test_an_output_belongs_to_one_inbox(inbox):
    inbox.put("a.parquet", 2)
    inbox.score()
    before = inbox.files("predictions")
    with pytest.raises(ParameterError, match=r"_inbox\.json"):
        inbox.score(input=inbox.address("bundle"))
    assert inbox.files("predictions") == before
    (inbox.root / "link").symlink_to("inbox")
    assert inbox.states(input=inbox.address("link")) == {"a.parquet": "known"}


@pytest.mark.parametrize("error", [BundleError("the graph cannot be run"), RuntimeError("broken")])
def test_files_after_one_at_which_the_program_fails_are_scored(inbox, monkeypatch, error):
    inbox.put("a.parquet", 2)
    inbox.put("b.parquet", 3, seed=1)
    real = FileScorer.score_file

    def score(self, source, *args, **options):
        if source.name == "a.parquet":
            raise error
        return real(self, source, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(FileScorer, "score_file", score)
        report = inbox.score()
    assert [(one.file, one.state) for one in report.files] == [("a.parquet", "failed"), ("b.parquet", "scored")]
    assert str(error) in str(report.files[0].reason)
    with pytest.raises(UnrollError, match=r"a\.parquet"):
        report.require_no_failure()
    inbox.score().require_no_failure()
    assert inbox.ids("predictions") == [0, 1, 1000, 1001, 1002]


@pytest.mark.parametrize("rows", [2, 0], ids=["scored", "rejected"])
def test_what_was_done_before_a_job_broke_off_is_reported(inbox, monkeypatch, rows):
    if rows:
        inbox.put("a.parquet", rows)
    else:
        inbox.put_bytes("a.parquet", b"garbage")
    inbox.put("b.parquet", 3, seed=1)
    real, stopped = storage.Storage.fetch, []

    def fetch(self, file, folder):
        if file.name == "b.parquet":
            raise KeyboardInterrupt
        return real(self, file, folder)

    with monkeypatch.context() as patch:
        patch.setattr(storage.Storage, "fetch", fetch)
        with pytest.raises(KeyboardInterrupt):
            score_inbox(inbox.scoring(), on_stop=stopped.append, staging=inbox.root / "staging")
    (report,) = stopped
    assert [(one.file, one.rows_scored) for one in report.files] == [("a.parquet", rows)]


def test_what_killed_jobs_left_goes_after_a_day(inbox):
    for name in ("old", "new"):
        (inbox.root / "staging" / name).mkdir(parents=True)
        (inbox.root / "staging" / name / "input.csv").write_text("half")
    os.utime(inbox.root / "staging/old", (0, 0))
    inbox.put("a.parquet", 2)
    inbox.score()
    assert [path.name for path in (inbox.root / "staging").iterdir()] == ["new"]


def test_rows_are_balanced(inbox, monkeypatch):
    inbox.put("a.parquet", 4, bad=(1,))
    real = FileScorer.score_file

    def score(self, source, output, **options):
        done = real(self, source, output, **options)
        pa.parquet.write_table(pa.parquet.read_table(output).slice(1), output)
        return done

    monkeypatch.setattr(FileScorer, "score_file", score)
    with pytest.raises(UnrollError):
        inbox.score()
    assert inbox.files("predictions") == inbox.markers() == {}
