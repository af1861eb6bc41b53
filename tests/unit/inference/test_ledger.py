"""What the ledger remembers."""

import sqlite3
from pathlib import Path

import pytest

from unroll.inference.ledger import Ledger
from unroll.inference.prices import Skipped


def test_a_file_goes_from_claimed_to_done(tmp_path: Path) -> None:
    with Ledger(tmp_path / "new" / "ledger.sqlite") as ledger:
        assert ledger.entry("a.csv", "aa") is None
        entry = ledger.claim("a.csv", "aa", "stamp", "m@1", ["a-aa.parquet"])
        assert (entry.state, entry.output) == ("claimed", "a-aa.parquet")
        assert not ledger.is_done("a.csv", "stamp")
        ledger.done(entry, 7, [Skipped("a.csv", "X", "short")])
    with Ledger(tmp_path / "new" / "ledger.sqlite") as ledger:
        known = ledger.entry("a.csv", "aa")
        assert known is not None
        assert (known.state, known.rows, known.model_version) == ("done", 7, "m@1")
        assert ledger.is_done("a.csv", "stamp")
        assert not ledger.is_done("b.csv", "stamp")
        ledger.restamp(known, "later")
        assert ledger.is_done("a.csv", "later")
        assert not ledger.is_done("a.csv", "stamp")


def test_a_claim_that_is_taken_over_keeps_its_output(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.claim("a.csv", "aa", "s", "m@1", ["x.parquet"])
        again = ledger.claim("a.csv", "aa", "s", "m@2", ["y.parquet"])
        assert (again.output, again.model_version) == ("x.parquet", "m@2")


def test_two_files_never_get_one_output(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        names = [ledger.claim(name, "aa", "s", "m@1", ["x.parquet", f"x-{name}"]).output for name in ("a", "b", "c")]
        assert names == ["x.parquet", "x-b", "x-c"]


def test_a_released_claim_leaves_nothing_and_a_done_file_stays(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        entry = ledger.claim("a.csv", "aa", "s", "m@1", ["x.parquet"])
        ledger.release(entry)
        assert ledger.entry("a.csv", "aa") is None
        entry = ledger.claim("a.csv", "aa", "s", "m@1", ["x.parquet"])
        ledger.done(entry, 1, [])
        ledger.release(entry)
        assert ledger.entry("a.csv", "aa") is not None


def test_the_ledger_is_on_disk_before_a_call_returns(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.rejected(ledger.claim("a.csv", "aa", "s", "m@1", ["x.parquet"]), "no CSV")
        other = sqlite3.connect(tmp_path / "ledger.sqlite")
        try:
            assert other.execute("SELECT state, reason FROM files").fetchall() == [("rejected", "no CSV")]
            assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        finally:
            other.close()


def test_a_ledger_that_is_no_sqlite_file(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_text("no database, " * 100)
    with pytest.raises(sqlite3.DatabaseError):
        Ledger(tmp_path / "ledger.sqlite")


def test_rows_set_aside_are_remembered(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.done(ledger.claim("a.csv", "aa", "s", "m@1", ["x.parquet"]), 7, [], 2)
        known = ledger.entry("a.csv", "aa")
        assert known is not None
        assert (known.rows, known.set_aside) == (7, 2)


def test_a_ledger_from_before_rows_could_be_set_aside(tmp_path: Path) -> None:
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
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            known = ledger.entry("a.csv", "aa")
            assert known is not None
            assert (known.state, known.rows, known.set_aside) == ("done", 5, None)
            assert ledger.is_done("a.csv", "s")
            ledger.done(ledger.claim("b.csv", "bb", "s", "m@1", ["y.parquet"]), 7, [], 1)
