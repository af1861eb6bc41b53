"""What the ledger remembers."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from unroll.errors import UnrollError
from unroll.scoring.database import Database
from unroll.scoring.ledger import Claim, Entry, Ledger, new_token


def ledger_in(path: Path, inbox: str = "data/inbox") -> Ledger:
    return Ledger(Database(f"sqlite:///{path}", inbox, lock_seconds=1.0))


def claim(
    ledger: Ledger, path: str = "a.csv", sha256: str = "aa", names: Sequence[str] = ("x.parquet",), **changes: Any
) -> Entry:
    given = {"size": 7, "stamp": "s", "place": "out", "quarantine": "bad", "model_version": "m@1", "registered": None}
    return ledger.claim(Claim(path, sha256, **{**given, **changes}), new_token(), lambda _: names)


def test_a_file_goes_from_claimed_to_done(tmp_path: Path) -> None:
    with ledger_in(tmp_path / "new/ledger.sqlite") as ledger:
        assert ledger.entry("a.csv", "aa") is None
        entry = claim(ledger)
        assert (entry.state, entry.output, entry.place) == ("claimed", "x.parquet", "out")
        assert ledger.done_stamps() == set()
        ledger.done(entry, 9, 7, 2)
    with ledger_in(tmp_path / "new/ledger.sqlite") as ledger:
        known = ledger.entry("a.csv", "aa")
        assert known is not None
        assert (known.state, known.rows_in, known.rows_scored, known.rows_quarantined) == ("done", 9, 7, 2)
        assert ledger.done_stamps() == {("a.csv", "s")}
        ledger.restamp(known, "later")
        assert ledger.done_stamps() == {("a.csv", "later")}
        assert ledger.unfinished() == []


def test_counts_that_do_not_balance_are_refused(tmp_path: Path) -> None:
    with ledger_in(tmp_path / "ledger.sqlite") as ledger:
        entry = claim(ledger)
        with pytest.raises(UnrollError, match="CHECK constraint failed: rows_in = rows_scored"):
            ledger.done(entry, 9, 7, 1)


def test_what_is_ended_twice_by_its_holder_is_ended_once(tmp_path: Path) -> None:
    """As where a server went away after it had done it, and before it said so."""
    with ledger_in(tmp_path / "ledger.sqlite") as ledger:
        entry = claim(ledger)
        for _ in range(2):
            ledger.done(entry, 1, 1, 0)
        with pytest.raises(UnrollError, match="taken over by another job"):
            ledger.rejected(entry, "late")


def test_only_the_holder_of_the_token_ends_a_claim(tmp_path: Path) -> None:
    with ledger_in(tmp_path / "ledger.sqlite") as ledger:
        first = claim(ledger)
        second = claim(ledger, model_version="m@2")
        assert (second.output, second.model_version) == ("x.parquet", "m@2")
        for end in (
            lambda: ledger.done(first, 1, 1, 0),
            lambda: ledger.rejected(first, "no"),
            lambda: ledger.require_claim(first),
        ):
            with pytest.raises(UnrollError, match=r"the claim of a\.csv .* was taken over by another job"):
                end()
        ledger.release(first)
        ledger.require_claim(second)
        ledger.done(second, 1, 1, 0)


def test_a_claim_that_is_taken_over_keeps_its_output(tmp_path: Path) -> None:
    with ledger_in(tmp_path / "ledger.sqlite") as ledger:
        claim(ledger)
        assert claim(ledger, names=["y.parquet"]).output == "x.parquet"
        assert claim(ledger, names=["y.parquet"], place="elsewhere").output == "y.parquet"


def test_two_files_never_get_one_output(tmp_path: Path) -> None:
    with ledger_in(tmp_path / "ledger.sqlite") as ledger:
        found = [claim(ledger, name, names=["x.parquet", f"x-{name}"]).output for name in ("a", "b", "c")]
        assert found == ["x.parquet", "x-b", "x-c"]


def test_a_released_claim_leaves_nothing_and_a_done_file_stays(tmp_path: Path) -> None:
    with ledger_in(tmp_path / "ledger.sqlite") as ledger:
        ledger.release(claim(ledger))
        assert ledger.entry("a.csv", "aa") is None
        entry = claim(ledger)
        ledger.done(entry, 1, 1, 0)
        ledger.release(entry)
        assert ledger.entry("a.csv", "aa") is not None


def test_older_contents_are_superseded_and_then_moved(tmp_path: Path) -> None:
    with ledger_in(tmp_path / "ledger.sqlite") as ledger:
        old = claim(ledger)
        ledger.done(old, 1, 1, 0)
        ledger.done(claim(ledger, "other.csv", names=["o.parquet"]), 1, 1, 0)
        new = claim(ledger, sha256="bb", names=["y.parquet"])
        assert [one.sha256 for one in ledger.others("a.csv", "bb")] == ["aa"]
        ledger.supersede(old)
        assert [(one.sha256, one.state) for one in ledger.unfinished()] == [("aa", "superseded"), ("bb", "claimed")]
        ledger.moved(old)
        assert ledger.others("a.csv", "bb") == []
        ledger.done(new, 1, 1, 0)
        assert ledger.unfinished() == []
        assert claim(ledger).moved is False  # the old content came back


def test_each_inbox_sees_its_own_files(tmp_path: Path) -> None:
    with ledger_in(tmp_path / "ledger.sqlite", "one") as one, ledger_in(tmp_path / "ledger.sqlite", "two") as two:
        one.done(claim(one), 1, 1, 0)
        assert two.entry("a.csv", "aa") is None
        assert two.done_stamps() == set()
        assert claim(two, names=["x.parquet", "y.parquet"]).output == "y.parquet"


def test_inboxes_that_share_an_output_never_share_a_name(tmp_path: Path) -> None:
    found = []
    for inbox in ("one", "two", "three", "four"):
        with ledger_in(tmp_path / "ledger.sqlite", inbox) as ledger:
            found.append(claim(ledger, names=["x.parquet", "x-a.parquet"]).output)
            assert claim(ledger, names=["x.parquet", "x-a.parquet"]).output == found[-1]
    assert found[:2] == ["x.parquet", "x-a.parquet"]
    assert all(name.startswith("x-a-") and name.endswith(".parquet") for name in found[2:])
    assert len(set(found)) == 4


def test_one_job_at_a_time(tmp_path: Path) -> None:
    with (
        ledger_in(tmp_path / "ledger.sqlite"),
        pytest.raises(UnrollError, match=r"another scoring job has held .*\.lock for 1 s"),
        ledger_in(tmp_path / "ledger.sqlite"),
    ):
        pass
    with ledger_in(tmp_path / "ledger.sqlite"):
        pass


def test_the_ledger_is_on_disk_before_a_call_returns(tmp_path: Path) -> None:
    with ledger_in(tmp_path / "ledger.sqlite") as ledger:
        ledger.rejected(claim(ledger), "no\0 CSV")
        other = sqlite3.connect(tmp_path / "ledger.sqlite")
        try:
            assert other.execute("SELECT state, reason FROM scored_files").fetchall() == [("rejected", "no\\x00 CSV")]
            assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        finally:
            other.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("no url", "cannot be read; expected sqlite:///FILE"),
        ("mysql://u:geheim@h/d", "neither SQLite nor PostgreSQL|cannot be read"),
        ("sqlite://", "names no file"),
    ],
)
def test_urls_that_cannot_be_used(url: str, message: str) -> None:
    with pytest.raises(UnrollError, match=message) as caught:
        Database(url, "inbox")
    assert "geheim" not in str(caught.value)


def test_a_ledger_of_0_1_is_taken_over(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "ledger.sqlite")
    old.execute(
        "CREATE TABLE files (name TEXT NOT NULL, sha256 TEXT NOT NULL, stamp TEXT NOT NULL, state TEXT NOT NULL, "
        "model_version TEXT NOT NULL, output TEXT NOT NULL UNIQUE, rows INTEGER, skipped TEXT, reason TEXT, "
        "changed TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (name, sha256)) WITHOUT ROWID"
    )
    old.execute(
        "INSERT INTO files (name, sha256, stamp, state, model_version, output, rows) "
        "VALUES ('a.csv', 'aa', 's', 'done', 'm@1', 'x.parquet', 5)"
    )
    old.commit()
    old.close()
    for _ in range(2):
        with ledger_in(tmp_path / "ledger.sqlite") as ledger:
            known = ledger.entry("a.csv", "aa")
            assert known is not None
            assert (known.state, known.rows_scored, known.rows_in) == ("done", 5, None)
            assert (known.place, known.output) == ("data/predictions", "x.parquet")
            assert ("a.csv", "s") in ledger.done_stamps()
            ledger.done(claim(ledger, "b.csv", names=["y.parquet"]), 8, 7, 1)
