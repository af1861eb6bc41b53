"""Scoring jobs whose files are in an object store, a real S3 server that sometimes cannot be reached."""

import fsspec
import pytest
import tiny_bundles
from inboxes import Inbox
from servers import object_store

from unroll.errors import ServiceUnavailable, UnrollError
from unroll.inference.file_scorer import FileScorer
from unroll.scoring import storage
from unroll.scoring.markers import Markers


@pytest.fixture(scope="module")
def store():
    with object_store() as environment:
        yield environment


@pytest.fixture
def inbox(store, tmp_path, monkeypatch):
    """An empty one below a prefix that nobody else uses."""
    for name, value in store.items():
        monkeypatch.setenv(name, value)
    tiny_bundles.digits(tmp_path / "bundle")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    yield Inbox(tmp_path, f"s3://unroll/{tmp_path.name}")
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def filled(inbox, files=3):
    """Files of six rows, one of them bad; gives all ids that are to be found in the end."""
    for seed in range(files):
        inbox.put(f"day={seed % 2}/{seed}.parquet", 6, seed, bad=(seed % 6,))
    return [1000 * seed + row for seed in range(files) for row in range(6)]


def all_rows(inbox):
    return sorted(inbox.ids("predictions") + inbox.ids("quarantine"))


def test_all_folders_in_an_object_store(inbox):
    ids = filled(inbox)
    inbox.put_bytes("day=0/bad.parquet", b"garbage")
    inbox.put_bytes("_SUCCESS", b"")
    inbox.put_bytes("folder/", b"")
    report = inbox.score()
    assert {name: report.counts()[name] for name in ("scored", "rejected", "waiting")} == {
        "scored": 3,
        "rejected": 1,
        "waiting": 0,
    }
    assert report.of("scored")[0].output == f"{inbox.base}/predictions/day=0/0.parquet.parquet"
    assert str(report.of("rejected")[0].reason).startswith(f"{inbox.base}/inbox/day=0/bad.parquet ")
    assert all_rows(inbox) == ids
    assert inbox.score().counts()["known"] == 4
    inbox.put("day=0/0.parquet", 2, seed=9)
    inbox.score()
    assert all_rows(inbox) == [*ids[6:], 9000, 9001]
    assert len(inbox.markers()) == 4
    assert list((inbox.root / "staging").iterdir()) == []


def test_content_that_comes_back_after_a_kill_is_scored_again(inbox, monkeypatch):
    """The old content has the old tag again, but what is in place are the predictions of the new one."""
    old = inbox.put("a.parquet", 2)
    inbox.score()
    inbox.put("a.parquet", 3, seed=1)
    with monkeypatch.context() as patch:
        patch.setattr(Markers, "put", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            inbox.score()
    assert inbox.ids("predictions") == [1000, 1001, 1002]
    inbox.put_bytes("a.parquet", old)
    assert inbox.states() == {"a.parquet": "scored"}
    assert inbox.ids("predictions") == [0, 1]


def test_quarantine_on_this_machine_and_the_rest_in_a_store(inbox):
    ids = filled(inbox)
    inbox.score(quarantine=str(inbox.root / "quarantine"))
    assert sorted(inbox.ids("predictions") + Inbox(inbox.root).ids("quarantine")) == ids


@pytest.mark.parametrize("moment", ["listed", "two blocks", "scored"])
def test_an_object_that_is_overwritten_waits(inbox, monkeypatch, moment):
    from s3fs.core import S3File

    inbox.put("a.parquet", 6)
    inbox.put("b.parquet", 6, seed=2)
    owner, name = {
        "listed": (storage.Storage, "fetch"),
        "two blocks": (S3File, "_fetch_range"),
        "scored": (FileScorer, "score_file"),
    }[moment]
    real = getattr(owner, name)

    def meanwhile(self, *args, **options):
        if moment != "two blocks" or (args[0] and self.key.endswith("a.parquet")):
            inbox.put("a.parquet", 6, seed=1)
        return real(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "_BLOCK", 1000)
        patch.setattr(owner, name, meanwhile)
        assert inbox.states() == {"a.parquet": "waiting", "b.parquet": "scored"}
    inbox.score()
    assert inbox.ids("predictions") == [*range(1000, 1006), *range(2000, 2006)]


def test_an_object_that_may_not_be_read_waits_and_those_after_it_are_scored(inbox, monkeypatch):
    from s3fs.core import S3File

    ids = filled(inbox)
    real = S3File._fetch_range

    def fetch(self, *range_):
        if self.key.endswith("day=0/0.parquet"):
            raise PermissionError("the storage class of the object does not allow it")
        return bytes(real(self, *range_))

    with monkeypatch.context() as patch:
        patch.setattr(S3File, "_fetch_range", fetch)
        report = inbox.score()
    assert [one.file for one in report.of("waiting")] == ["day=0/0.parquet"]
    assert report.counts()["scored"] == 2
    assert inbox.score().counts()["scored"] == 1
    assert all_rows(inbox) == ids


def test_a_store_that_is_away_stops_the_job(inbox, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(ServiceUnavailable, match=f"{inbox.base}/"):
        inbox.score()


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("SlowDown", 503, ServiceUnavailable),
        ("InternalError", 500, ServiceUnavailable),
        ("SignatureDoesNotMatch", 403, UnrollError),
    ],
)
def test_a_store_that_refuses_in_the_middle_stops_the_job(inbox, monkeypatch, code, status, kind):
    from botocore.exceptions import ClientError
    from s3fs.errors import translate_boto_error

    ids = filled(inbox)
    system = storage.Storage(inbox.address("predictions")).fs

    def put(_, key):
        about = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise translate_boto_error(ClientError(about, "PutObject"))

    with monkeypatch.context() as patch:
        patch.setattr(system, "put_file", put)
        with pytest.raises(UnrollError) as caught:
            inbox.score()
    assert type(caught.value) is kind
    assert inbox.markers() == {}
    inbox.score()
    assert all_rows(inbox) == ids


def test_a_bucket_that_does_not_exist(inbox):
    with pytest.raises(UnrollError, match="s3://nowhere/x"):
        inbox.score(input="s3://nowhere/x")
    inbox.put("a.parquet", 2)
    with pytest.raises(UnrollError, match="s3://nowhere/x"):
        inbox.score(output="s3://nowhere/x")
    assert inbox.score(input=f"{inbox.base}/empty").files == ()


def test_keys_that_would_be_other_paths_become_names(tmp_path):
    inbox = Inbox(tmp_path, "memory://hostile")
    tiny_bundles.digits(tmp_path / "bundle")
    content = Inbox(tmp_path).put("a.parquet", 2)
    system = fsspec.filesystem("memory")
    system.store.clear()
    for key in ("a/.../b.parquet", "x\\..\\c.parquet", "-rf.parquet", "C:d.parquet"):
        system.pipe_file(f"/hostile/inbox/{key}", content)
    states = inbox.states(output=str(tmp_path / "out"), quarantine=str(tmp_path / "bad"))
    assert sorted(states.values()) == ["scored", "scored", "scored", "waiting"]
    outside = [path for path in tmp_path.rglob("*.parquet") if not path.is_relative_to(tmp_path / "out")]
    assert outside == [tmp_path / "inbox/a.parquet"]
