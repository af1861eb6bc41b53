"""Addresses become places, and files are found in them and moved whole."""

from pathlib import Path

import fsspec
import pytest

from unroll.errors import ParameterError, UnrollError
from unroll.inference.stamps import ChangedError
from unroll.scoring.places import Folder, Place, above, overlap, place_of
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
