"""Scoring jobs whose ledger is PostgreSQL and whose files lie in an object store, both real, both sometimes away."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest
import sqlalchemy as sql
import tiny_bundles
from inboxes import Inbox, job_starter
from servers import Postgres, object_store, postgres

from unroll.errors import UnrollError, is_passing
from unroll.inference.scorer import Scorer
from unroll.scoring import stores
from unroll.scoring.database import Database
from unroll.scoring.ledger import Claim, Ledger, new_token
from unroll.scoring.stores import store_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as one:
        yield one


@pytest.fixture
def clean(server: Postgres) -> Postgres:
    """The server, with an empty database."""
    engine = sql.create_engine(server.url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(sql.text("DROP TABLE IF EXISTS scored_files"))
    engine.dispose()
    return server


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with object_store(tmp_path_factory.mktemp("store") / "data") as environment:
        yield environment


@pytest.fixture
def bucket(store: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of a prefix that nobody else uses."""
    for name, value in store.items():
        monkeypatch.setenv(name, value)
    return f"s3://unroll/{tmp_path.name}"


def filled(inbox: Inbox, files: int = 3) -> list[int]:
    """Files of six rows, one of them bad; gives all ids that are to be found in the end."""
    tiny_bundles.digits(inbox.root / "bundle")
    for seed in range(files):
        inbox.put(f"day={seed % 2}/{seed}.parquet", 6, seed, bad=(seed % 6,))
    return [1000 * seed + row for seed in range(files) for row in range(6)]


def all_rows(inbox: Inbox) -> list[int]:
    return sorted(inbox.ids("predictions") + inbox.ids("quarantine", ".quarantine.parquet"))


def test_a_ledger_in_postgresql(tmp_path: Path, clean: Postgres) -> None:
    inbox = Inbox(tmp_path, url=clean.url)
    ids = filled(inbox)
    assert inbox.score().totals.rows_in == len(ids)
    assert inbox.score().totals.known == 3
    inbox.put("day=0/0.parquet", 2, seed=9)
    inbox.score()
    assert all_rows(inbox) == [*ids[6:], 9000, 9001]
    assert inbox.ids("superseded") == ids[:6]


def test_postgresql_is_restarted_before_every_call(
    tmp_path: Path, clean: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Inbox(tmp_path, url=clean.url)
    ids = filled(inbox)
    inbox.put_bytes("bad.parquet", b"garbage")
    real, calls = Database.run, []

    def run(self: Database, work: Callable[[sql.Connection], Any]) -> Any:
        calls.append(work)
        clean.stop()
        clean.start()
        return real(self, work)

    with monkeypatch.context() as patch:
        patch.setattr(Database, "run", run)
        # The first call opens the ledger: a server that is away then is an error at once.
        report = inbox.score()
    assert len(calls) > 15
    assert (report.totals.scored, report.totals.rejected) == (3, 1)
    assert all_rows(inbox) == ids
    assert inbox.score().totals.known == 3


def test_postgresql_goes_away_in_the_middle_of_a_file_and_comes_back(
    tmp_path: Path, clean: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Inbox(tmp_path, url=clean.url)
    ids = filled(inbox)
    real, calls = Scorer.score, []

    def score(self: Scorer, batch: pa.RecordBatch) -> pa.RecordBatch:
        calls.append(batch)
        if len(calls) == 2:
            clean.stop()
            threading.Timer(3.0, clean.start).start()
        return real(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "score", score)
        began = time.monotonic()
        assert inbox.score().totals.scored == 3
        assert time.monotonic() - began > 2.0
    assert all_rows(inbox) == ids


def test_postgresql_that_stays_away_stops_the_job_and_the_next_one_goes_on(
    tmp_path: Path, clean: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Inbox(tmp_path, url=clean.url)
    ids = filled(inbox)
    for step in ("claim", "done", "require_claim"):
        real = getattr(Ledger, step)
        calls: list[str] = []

        def away(self: Ledger, *what: Any, real: Any = real, calls: list[str] = calls) -> Any:
            calls.append("")
            if len(calls) == 2:
                clean.stop()
            return real(self, *what)

        with monkeypatch.context() as patch:
            patch.setattr(Ledger, step, away)
            try:
                with pytest.raises(UnrollError, match=r"the ledger .* cannot be used.*start its server") as caught:
                    inbox.score(away_seconds=1.0)
            finally:
                clean.start()
        assert is_passing(caught.value)
        assert "trust" not in str(caught.value)
        inbox.put(f"more-{step}.parquet", 6, seed=10 + len(ids))
        ids += [1000 * (10 + len(ids)) + row for row in range(6)]
        inbox.put(f"more2-{step}.parquet", 6, seed=10 + len(ids))
        ids += [1000 * (10 + len(ids)) + row for row in range(6)]
    inbox.score()
    assert all_rows(inbox) == sorted(ids)


def test_a_lock_that_another_job_got_meanwhile_stops_the_first(tmp_path: Path, clean: Postgres) -> None:
    first = Database(clean.url, "inbox", lock_seconds=1.0, away_seconds=20.0)
    second = Database(clean.url, "inbox", lock_seconds=20.0, away_seconds=20.0)
    claim = Claim("a", "aa", 1, "s", "out", "bad", "m@1", None)
    with Ledger(first) as ours:
        entry = ours.claim(claim, new_token(), lambda _: ["x.parquet"])
        clean.stop()
        clean.start()
        with Ledger(second) as theirs:
            theirs.claim(claim, new_token(), lambda _: ["x.parquet"])
            with pytest.raises(UnrollError, match="another scoring job has held the lock"):
                ours.done(entry, 1, 1, 0)
        with pytest.raises(UnrollError, match="was taken over by another job"):
            ours.done(entry, 1, 1, 0)
        now = ours.entry("a", "aa")
        assert now is not None
        assert (now.state, now.token == entry.token) == ("claimed", False)


def test_two_jobs_at_once_with_a_ledger_in_postgresql(tmp_path: Path, clean: Postgres) -> None:
    inbox = Inbox(tmp_path, url=clean.url)
    ids = filled(inbox, files=10)
    with job_starter() as one, job_starter() as two:
        one.start(inbox)
        two.start(inbox)
        assert (one.wait(), two.wait()) == (0, 0)
    assert all_rows(inbox) == ids
    assert len(inbox.names("predictions")) == 10


def test_a_server_that_is_not_there_is_told_without_the_password(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, url="postgresql://me:geheim@127.0.0.1:1/unroll")
    tiny_bundles.digits(tmp_path / "bundle")
    with pytest.raises(UnrollError, match=r"postgresql\+psycopg://me:\*\*\*@127\.0\.0\.1:1/unroll") as caught:
        inbox.score()
    assert "geheim" not in str(caught.value)
    assert is_passing(caught.value)


def test_all_places_in_an_object_store(tmp_path: Path, bucket: str, clean: Postgres) -> None:
    inbox = Inbox(tmp_path, bucket, clean.url)
    ids = filled(inbox)
    inbox.put_bytes("day=0/bad.parquet", b"garbage")
    inbox.put_bytes("_SUCCESS", b"")
    report = inbox.score()
    assert (report.totals.scored, report.totals.rejected, report.totals.waiting) == (3, 1, 1)
    assert all(one.output and one.output.startswith(f"{bucket}/predictions/scored_on=") for one in report.of("scored"))
    assert str(report.of("rejected")[0].reason).startswith(f"{bucket}/inbox/day=0/bad.parquet is no Parquet")
    assert all_rows(inbox) == ids
    assert inbox.content("quarantine", "/bad.parquet") == b"garbage"
    assert inbox.score().totals.known == 3
    inbox.put("day=0/0.parquet", 2, seed=9)
    inbox.score()
    assert all_rows(inbox) == [*ids[6:], 9000, 9001]
    assert inbox.ids("superseded") == ids[:6]
    assert inbox.names("inbox") == ["_SUCCESS", "day=0/0.parquet", "day=0/2.parquet", "day=1/1.parquet"]
    assert not list(tmp_path.glob("work/*"))


def test_quarantine_on_this_machine_and_the_rest_in_a_store(tmp_path: Path, bucket: str) -> None:
    inbox = Inbox(tmp_path, bucket)
    ids = filled(inbox)
    inbox.put_bytes("bad.parquet", b"garbage")
    inbox.score(quarantine=str(tmp_path / "quarantine"))
    here = Inbox(tmp_path)
    assert here.content("quarantine", "/bad.parquet") == b"garbage"
    assert sorted(inbox.ids("predictions") + here.ids("quarantine", ".quarantine.parquet")) == ids
    assert len(inbox.names("inbox")) == 3


def test_an_object_that_changes_while_it_is_scored_waits(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Inbox(tmp_path, bucket)
    tiny_bundles.digits(tmp_path / "bundle")
    inbox.put("a.parquet", 6)
    real = Scorer.score

    def meanwhile(self: Scorer, batch: pa.RecordBatch) -> pa.RecordBatch:
        inbox.put("a.parquet", 6, seed=1)
        return real(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "score", meanwhile)
        assert [one.reason for one in inbox.score().of("waiting")] == ["changed while it was read"]
    assert inbox.names("predictions") == []
    inbox.score()
    assert inbox.ids("predictions") == list(range(1000, 1006))


def test_an_object_that_is_overwritten_between_two_blocks_waits(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s3fs.core import S3File

    inbox = Inbox(tmp_path, bucket)
    tiny_bundles.digits(tmp_path / "bundle")
    inbox.put("a.parquet", 6)
    inbox.put("b.parquet", 6, seed=2)
    real = S3File._fetch_range

    def fetch(self: Any, start: int, end: int) -> bytes:
        if start and self.key.endswith("a.parquet"):
            inbox.put("a.parquet", 6, seed=1)
        return bytes(real(self, start, end))

    with monkeypatch.context() as patch:
        patch.setattr(stores, "_BLOCK", 1000)
        patch.setattr(S3File, "_fetch_range", fetch)
        report = inbox.score()
    assert [(one.file, one.reason) for one in report.of("waiting")] == [("a.parquet", "changed while it was read")]
    assert report.totals.scored == 1
    inbox.score()
    assert inbox.ids("predictions") == [*range(1000, 1006), *range(2000, 2006)]


@pytest.mark.parametrize("quarantine", ["store", "folder"])
def test_a_mended_object_that_comes_while_the_old_one_is_moved_stays(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch, quarantine: str
) -> None:
    inbox = Inbox(tmp_path, bucket)
    tiny_bundles.digits(tmp_path / "bundle")
    inbox.put_bytes("a.parquet", b"garbage")
    step = "cp_file" if quarantine == "store" else "get_file"
    system = store_of(inbox.address("inbox")).system
    real = getattr(system, step)
    places = {"quarantine": inbox.address("quarantine") if quarantine == "store" else str(tmp_path / "quarantine")}

    def meanwhile(*names: str) -> None:
        real(*names)
        inbox.put("a.parquet", 3)

    with monkeypatch.context() as patch:
        patch.setattr(system, step, meanwhile)
        (waits,) = inbox.score(**places).files
    assert (waits.state, waits.reason) == ("waiting", "changed while it was read")
    assert inbox.score(**places).totals.scored == 1
    assert inbox.ids("predictions") == [0, 1, 2]
    # The garbage was moved already.
    there = inbox if quarantine == "store" else Inbox(tmp_path)
    assert there.names("quarantine") == ["a.parquet", "a.parquet.reason.json"]
    assert there.content("quarantine", "/a.parquet") == b"garbage"


def test_a_mended_object_is_not_kept_in_quarantine(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes after the last look, and before the copy."""
    inbox = Inbox(tmp_path, bucket)
    tiny_bundles.digits(tmp_path / "bundle")
    inbox.put_bytes("a.parquet", b"garbage")
    system = store_of(inbox.address("inbox")).system
    real = system.cp_file

    def meanwhile(*names: str) -> None:
        inbox.put("a.parquet", 3)
        real(*names)

    with monkeypatch.context() as patch:
        patch.setattr(system, "cp_file", meanwhile)
        assert inbox.score().totals.waiting == 1
    assert inbox.names("quarantine") == []
    assert inbox.score().totals.scored == 1
    assert inbox.ids("predictions") == [0, 1, 2]


def test_an_object_that_may_not_be_read_waits_and_those_after_it_are_scored(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ClientError
    from s3fs.core import S3File
    from s3fs.errors import translate_boto_error

    inbox = Inbox(tmp_path, bucket)
    ids = filled(inbox)
    real = S3File._fetch_range

    def fetch(self: Any, *range_: int) -> bytes:
        if self.key.endswith("day=0/0.parquet"):
            about = {"Code": "InvalidObjectState", "Message": "The object's storage class does not allow it"}
            raise translate_boto_error(ClientError({"Error": about}, "GetObject"))
        return bytes(real(self, *range_))

    with monkeypatch.context() as patch:
        patch.setattr(S3File, "_fetch_range", fetch)
        report = inbox.score()
    assert [(one.file, one.reason) for one in report.of("waiting")] == [
        ("day=0/0.parquet", "cannot be read: The object's storage class does not allow it")
    ]
    assert report.totals.scored == 2
    assert inbox.score().totals.scored == 1
    assert all_rows(inbox) == ids


def test_keys_that_would_be_other_paths_become_names(tmp_path: Path, bucket: str) -> None:
    inbox = Inbox(tmp_path, bucket)
    tiny_bundles.digits(tmp_path / "bundle")
    system = fsspec.filesystem("memory")
    system.store.clear()
    inbox = Inbox(tmp_path, "memory://hostile")
    content = Inbox(tmp_path).put("a.parquet", 2)
    for key in ("a/.../b.parquet", "x\\..\\c.parquet", "-rf.parquet", "C:d.parquet"):
        system.pipe_file(f"/hostile/inbox/{key}", content)
    report = inbox.score(output=str(tmp_path / "out"), quarantine=str(tmp_path / "bad"))
    outside = [path for path in tmp_path.rglob("*.parquet") if not path.is_relative_to(tmp_path / "out")]
    assert outside == [tmp_path / "inbox/a.parquet"]
    assert [one.state for one in report.files].count("scored") == 3
    assert [(one.file, one.state) for one in report.files if one.state != "scored"] == [("a/.../b.parquet", "waiting")]


@pytest.mark.parametrize(
    ("changes", "message", "passing"),
    [
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "Could not connect to the endpoint URL", True),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "[Ss]ignature|Forbidden|Access", False),
    ],
)
def test_a_store_that_is_away_or_refuses_stops_the_job(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], message: str, passing: bool
) -> None:
    inbox = Inbox(tmp_path, bucket)
    filled(inbox)
    scoring = inbox.scoring()
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UnrollError, match=message) as caught:
        inbox.score()
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    assert scoring.input in str(caught.value)
    assert is_passing(caught.value) is passing
    assert "wrong" not in str(caught.value)


def test_a_bucket_that_is_not_there(tmp_path: Path, bucket: str) -> None:
    inbox = Inbox(tmp_path, "s3://nowhere/x")
    tiny_bundles.digits(tmp_path / "bundle")
    with pytest.raises(UnrollError, match="is a whole bucket"):
        inbox.score(output="s3://nowhere")
    local = Inbox(tmp_path)
    with pytest.raises(UnrollError, match=r"s3://nowhere/x/inbox cannot be listed: there is no bucket nowhere"):
        local.score(input="s3://nowhere/x/inbox")
    # Nothing below a prefix is no fault.
    assert local.score(input=f"{bucket}/inbox").files == ()
    local.put("a.parquet", 2)
    with pytest.raises(UnrollError, match=r"scoring stopped: .*bucket"):
        local.score(output="s3://nowhere/x/predictions")
    assert local.names("inbox") == ["a.parquet"]
