"""Addresses become places, and files are found in them and moved whole."""

from pathlib import Path

import fsspec
import pytest

from unroll.errors import ParameterError, UnrollError
from unroll.inference.stamps import ChangedError
from unroll.scoring.places import Folder, Place, UnreadableError, above, overlap, place_of
from unroll.scoring.stores import Store


@pytest.fixture(params=["folder", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return place_of(str(tmp_path / "place"))
    return place_of(f"memory://{tmp_path.name}/place")


def put(place: Place, tmp_path: Path, name: str, content: bytes = b"x") -> None:
    staged = tmp_path / "staged"
    staged.write_bytes(content)
    place.publish(staged, name)
    assert not staged.exists()


def test_files_are_found_fetched_and_hashed(place: Place, tmp_path: Path) -> None:
    for name in ("a.csv", "day=1/part-0.csv", "day=1/deep/b.csv"):
        put(place, tmp_path, name, b"some text")
    found = {one.name: one for one in place.files()}
    assert set(found) == {"a.csv", "day=1/part-0.csv", "day=1/deep/b.csv"}
    one = found["day=1/part-0.csv"]
    assert (one.size, one.problem) == (9, None)
    with place.fetched(one, tmp_path / "work") as (path, sha256):
        assert path.name == "part-0.csv"
        assert path.read_bytes() == b"some text"
        assert sha256 == place.sha256("day=1/part-0.csv")
    assert isinstance(place, Folder) or not path.exists()


def test_a_file_that_changed_or_went_is_told(place: Place, tmp_path: Path) -> None:
    put(place, tmp_path, "a.csv")
    (found,) = place.files()
    place.require_same(found)
    put(place, tmp_path, "a.csv", b"longer")
    for _ in range(2):
        with pytest.raises(ChangedError):
            place.require_same(found)
        with pytest.raises(ChangedError), place.fetched(found, tmp_path / "work"):
            pass
        place.remove("a.csv")
    assert not place.exists("a.csv")
    place.remove("a.csv")


@pytest.mark.parametrize("other", ["folder", "store"])
def test_a_file_is_taken_to_another_place(place: Place, tmp_path: Path, other: str) -> None:
    to = place_of(str(tmp_path / "to") if other == "folder" else f"memory://{tmp_path.name}/to")
    put(place, tmp_path, "sub/a.csv", b"text")
    place.take("sub/a.csv", to, "else/b.csv", tmp_path / "work")
    assert (place.exists("sub/a.csv"), to.exists("else/b.csv")) == (False, True)
    (found,) = to.files()
    assert (found.name, found.size) == ("else/b.csv", 4)


@pytest.mark.parametrize("other", ["folder", "store"])
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_what_came_in_the_place_of_a_file_to_be_taken_stays(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str, when: str
) -> None:
    to = place_of(str(tmp_path / "to") if other == "folder" else f"memory://{tmp_path.name}/to")
    put(place, tmp_path, "a.csv", b"bad")
    (found,) = place.files()
    if when == "before":
        put(place, tmp_path, "a.csv", b"mended")
    elif isinstance(place, Store) and isinstance(to, Store):
        real_copy = place.system.cp_file

        def copied(*names: str) -> None:
            real_copy(*names)
            put(place, tmp_path, "a.csv", b"mended")

        monkeypatch.setattr(place.system, "cp_file", copied)
    else:
        real, real_beside = type(to).publish, Folder._is_beside
        # As on two file systems: what is renamed has no meanwhile.
        monkeypatch.setattr(Folder, "_is_beside", lambda *names: real_beside(*names) and False)

        def published(self: Place, staged: Path, name: str) -> None:
            real(self, staged, name)  # type: ignore[arg-type]
            monkeypatch.setattr(type(to), "publish", real)
            put(place, tmp_path, "a.csv", b"mended")

        monkeypatch.setattr(type(to), "publish", published)
    with pytest.raises(ChangedError):
        place.take("a.csv", to, "b.csv", tmp_path / "work", found)
    (now,) = place.files()
    with place.fetched(now, tmp_path / "work") as (path, _):
        assert path.read_bytes() == b"mended"


def test_an_object_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = place_of(f"memory://{tmp_path.name}/in")
    assert isinstance(store, Store)
    put(store, tmp_path, "a.csv")
    (found,) = store.files()

    def refused(*_: object, **__: object) -> None:
        raise PermissionError("it is archived")

    monkeypatch.setattr(store.system, "open", refused)
    with pytest.raises(UnreadableError, match="it is archived"), store.fetched(found, tmp_path / "work"):
        pass


def test_a_folder_of_this_machine_that_may_not_be_written_is_no_fault_of_the_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = place_of(f"memory://{tmp_path.name}/in")
    put(store, tmp_path, "a.csv")
    (found,) = store.files()

    def refused(*_: object, **__: object) -> None:
        raise PermissionError("no entry")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(PermissionError, match="no entry"), store.fetched(found, tmp_path / "work"):
        pass


def test_a_place_that_is_not_there(tmp_path: Path) -> None:
    assert list(place_of(f"memory://{tmp_path.name}/nothing").files()) == []
    with pytest.raises(FileNotFoundError):
        list(place_of(str(tmp_path / "nothing")).files())


def test_addresses() -> None:
    assert place_of("data/in") == place_of("file://data/in") == Folder(Path("data/in"))
    store = place_of("memory://bucket/in/")
    assert isinstance(store, Store)
    assert store.address == "memory://bucket/in"
    assert above(store, "superseded").address == "memory://bucket/superseded"
    assert above(Folder(Path("data/in")), "superseded") == Folder(Path("data/superseded"))
    with pytest.raises(UnrollError, match="is a whole bucket"):
        above(place_of("memory://bucket"), "superseded")
    with pytest.raises(UnrollError, match=r"cannot be used|needs the package"):
        place_of("nothing://bucket/in")
    with pytest.raises(ParameterError, match="several protocols"):
        place_of("simplecache::memory://bucket/in")
    with pytest.raises(ParameterError, match="has a user or a password in it") as caught:
        place_of("ftp://me:geheim@host/in")
    assert "geheim" not in str(caught.value)


def test_a_folder_has_one_address_however_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here/data/inbox").mkdir(parents=True)
    (tmp_path / "here/link").symlink_to("data")
    monkeypatch.chdir(tmp_path / "here")
    inbox = f"{tmp_path}/here/data/inbox"
    for one in ("data/inbox/", "./data/../data/inbox", "link/inbox", inbox, f"file://{inbox}", "local://data/inbox"):
        assert place_of(one) == Folder(Path("data/inbox")), one
    for one in ("../there", f"{tmp_path}/here/../there"):
        assert place_of(one).address == f"{tmp_path}/there"
    (tmp_path / "here/circle").symlink_to("circle")
    assert place_of("circle").address == "circle"


def test_a_bucket_has_one_address_however_its_protocol_is_called() -> None:
    pytest.importorskip("s3fs")
    assert place_of("s3a://bucket/in") == place_of("s3://bucket/in/")
    assert place_of("s3a://bucket/in").address == "s3://bucket/in"


def test_places_that_lie_in_one_another(tmp_path: Path) -> None:
    here = Folder(tmp_path / "a")
    assert overlap(here, Folder(tmp_path / "a/b/../b"))
    assert overlap(here, Folder(tmp_path / "c/../a"))
    assert not overlap(here, Folder(tmp_path / "ab"))
    assert not overlap(here, place_of("memory://a"))
    assert overlap(place_of("memory://x/a/b"), place_of("memory://x/a"))
    assert not overlap(place_of("memory://x/ab"), place_of("memory://x/a"))


def test_folders_of_consoles_are_no_files(tmp_path: Path) -> None:
    system = fsspec.filesystem("memory")
    system.pipe_file(f"/{tmp_path.name}/in/a.csv", b"x")
    assert [one.name for one in place_of(f"memory://{tmp_path.name}/in").files()] == ["a.csv"]
