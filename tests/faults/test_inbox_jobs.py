"""Scoring jobs that break off, wait for each other or are told other places: no row is lost and none is there twice."""

from typing import Any

import pyarrow as pa
import pytest
from filelock import FileLock
from inboxes import Inbox

from unroll.errors import BundleError, ParameterError, UnrollError
from unroll.inference.scorer import Scorer
from unroll.scoring.job import score_inbox
from unroll.scoring.ledger import Claim, Ledger


def test_a_killed_jobs_claim_of_a_file_that_is_gone_is_told(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox.put("a.parquet", 2)
    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "score", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            inbox.score()
    (inbox.root / "inbox/a.parquet").unlink()
    (gone,) = inbox.score().files
    assert (gone.file, gone.state) == ("a.parquet", "gone")
    assert str(gone.reason).endswith("nothing of it was put into place")
    assert inbox.score().files == ()
    inbox.put("a.parquet", 2)
    assert inbox.score().totals.scored == 1


def test_predictions_of_a_file_that_is_gone_stay(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job was killed after it had put them into place, and before the ledger knew."""
    content = inbox.put("a.parquet", 2)
    with monkeypatch.context() as patch:
        patch.setattr("unroll.scoring.ledger.Ledger.done", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            inbox.score()
    (inbox.root / "inbox/a.parquet").unlink()
    (gone,) = inbox.score().files
    assert "its predictions are in" in str(gone.reason)
    assert inbox.score().files == ()
    assert inbox.ids("predictions") == [0, 1]
    inbox.put_bytes("a.parquet", content)
    assert [one.state for one in inbox.score().files] == ["known"]


@pytest.mark.parametrize("error", [BundleError("the graph cannot be run"), RuntimeError("expectation broke")])
def test_files_after_one_at_which_the_program_fails_are_scored(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    inbox.put("a.parquet", 2)
    inbox.put("b.parquet", 3, seed=1)
    real = Scorer.score

    def score(self: Scorer, batch: pa.RecordBatch) -> pa.RecordBatch:
        if batch["row_id"][0].as_py() == 0:
            raise error
        return real(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "score", score)
        report = inbox.score()
    assert [(one.file, one.state) for one in report.files] == [("a.parquet", "failed"), ("b.parquet", "scored")]
    assert str(error) in str(report.files[0].reason)
    assert "1 FAILED" in report.summary()
    with pytest.raises(UnrollError, match="tried again by the next run"):
        report.require_no_failure()
    assert inbox.ids("predictions") == [1000, 1001, 1002]
    inbox.score().require_no_failure()
    assert inbox.ids("predictions") == [0, 1, 1000, 1001, 1002]


def test_what_was_done_before_a_job_broke_off_is_told(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox.put("a.parquet", 2)
    inbox.put("b.parquet", 3, seed=1)
    real, told = Ledger.claim, []

    def claim(self: Ledger, what: Claim, *rest: Any) -> Any:
        if what.path == "b.parquet":
            raise ConnectionError("the wire is cut")
        return real(self, what, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "claim", claim)
        with pytest.raises(UnrollError, match="the wire is cut"):
            score_inbox(inbox.scoring(), ledger_url=inbox.ledger_url, work=inbox.root / "work", stopped=told.append)
    (report,) = told
    assert [(one.file, one.rows_scored) for one in report.files] == [("a.parquet", 2)]


def test_a_change_of_places_leaves_no_row_twice(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job is stopped after it has put predictions into place, and before the ledger knows."""
    inbox.put("a.parquet", 3)
    with monkeypatch.context() as patch:
        patch.setattr("unroll.scoring.ledger.Ledger.done", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            inbox.score()
    assert inbox.ids("predictions") == [0, 1, 2]
    inbox.score(output=inbox.address("elsewhere"))
    assert inbox.names("predictions") == []
    assert inbox.ids("elsewhere") == [0, 1, 2]


def test_places_that_lie_in_one_another_are_refused(inbox: Inbox) -> None:
    for changes in (
        {"output": inbox.address("inbox/predictions")},
        {"quarantine": inbox.address("predictions")},
        {"quarantine": inbox.address("superseded/bad")},
        {"input": str(inbox.root)},
    ):
        with pytest.raises(ParameterError, match="choose places apart"):
            inbox.score(**changes)


def test_a_job_that_waits_too_long_for_another_says_so(inbox: Inbox) -> None:
    inbox.score()
    (lock,) = (inbox.root / "state").glob("*.lock")
    with (
        FileLock(lock),
        pytest.raises(UnrollError, match=r"another scoring job has held .*ledger\.sqlite\..*lock for 0\.1 s"),
    ):
        inbox.score(lock_seconds=0.1)


def test_a_ledger_that_is_no_database_is_a_clear_error(inbox: Inbox) -> None:
    inbox.put("a.parquet", 2)
    (inbox.root / "state").mkdir()
    (inbox.root / "state/ledger.sqlite").write_text("no database, " * 100)
    with pytest.raises(UnrollError, match=r"the ledger .* cannot be used: file is not a database"):
        inbox.score()
