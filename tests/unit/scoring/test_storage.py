"""Folders and addresses as storages, and the names of what is written to them."""

import os
from pathlib import Path

import pytest

from unroll.errors import ParameterError, UnrollError
from unroll.scoring.names import safe_name, shown_name
from unroll.scoring.storage import Storage, TryLaterError
from unroll.sources.forms import table_name
from unroll.sources.parquet import partitions


@pytest.fixture(params=["local", "memory"])
def storage(request, tmp_path):
    if request.param == "local":
        return Storage(str(tmp_path / "place"))
    found = Storage(f"memory://{tmp_path.name}/place")
    found.fs.store.clear()
    return found


def put(storage, folder, name, content=b"x"):
    (folder / "staged").write_bytes(content)
    storage.put(folder / "staged", name)


def test_files_are_put_listed_fetched_and_removed(storage, tmp_path):
    assert storage.files() == []
    for name in ("b/c.csv", "a.csv", "_scored/a.csv@1.json"):
        put(storage, tmp_path, name, name.encode())
    assert not (tmp_path / "staged").exists()
    assert [file.name for file in storage.files()] == ["_scored/a.csv@1.json", "a.csv", "b/c.csv"]
    assert storage.names("_scored") == ["a.csv@1.json"]
    assert storage.names("nothing") == []
    copy, sha256 = storage.fetch(storage.files()[1], tmp_path)
    assert (copy.name, copy.read_bytes(), len(sha256)) == ("a.csv", b"a.csv", 64)
    storage.remove("a.csv")
    storage.remove("a.csv")
    assert len(storage.files()) == 2


def test_a_fetched_part_keeps_its_partitions_and_the_name_of_its_table(storage, tmp_path):
    put(storage, tmp_path, "x.parquet/d=a%2Fb:c/part-0.parquet")
    copy, _ = storage.fetch(storage.files()[0], tmp_path)
    assert partitions(copy) == {"d": "a/b:c"}
    assert table_name(copy) == "x"


def test_each_write_is_a_new_version(storage, tmp_path):
    put(storage, tmp_path, "a.csv")
    (file,) = storage.files()
    storage.require_unchanged(file)
    assert set(file.version) <= set("0123456789abcdef.-")
    put(storage, tmp_path, "a.csv")
    for act in (storage.require_unchanged, lambda file: storage.fetch(file, tmp_path)):
        with pytest.raises(TryLaterError):
            act(file)
    storage.remove("a.csv")
    with pytest.raises(TryLaterError):
        storage.require_unchanged(file)


def test_json_that_is_missing_or_damaged_is_none(storage, tmp_path):
    for name, content in (("a.json", b'{"x": 1}'), ("b.json", b'{"x": '), ("c.json", b"[]")):
        put(storage, tmp_path, name, content)
    assert [storage.read_json(f"{name}.json") for name in "abcd"] == [{"x": 1}, None, None, None]


def test_a_file_is_replaced_whole_across_file_systems(tmp_path, monkeypatch):
    storage = Storage(str(tmp_path / "place"))
    put(storage, tmp_path, "a.csv", b"old")
    other = Path("/dev/shm")  # noqa: S108 -- another file system
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system alone")
    staged = other / f"unroll-{os.getpid()}"
    staged.write_bytes(b"new")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfile", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(UnrollError, match="No space left"):
            storage.put(staged, "a.csv")
    assert [path.read_bytes() for path in (tmp_path / "place").iterdir()] == [b"old"]
    storage.put(staged, "a.csv")
    assert [path.read_bytes() for path in (tmp_path / "place").iterdir()] == [b"new"]
    staged.unlink(missing_ok=True)


def test_a_folder_that_may_not_be_read_is_a_problem(tmp_path, monkeypatch):
    (tmp_path / "shut").mkdir()
    put(Storage(str(tmp_path)), tmp_path, "a.csv")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root may read everything
    assert [(file.name, bool(file.problem)) for file in Storage(str(tmp_path)).files()] == [
        ("a.csv", False),
        ("shut", True),
    ]
    with pytest.raises(UnrollError, match="Permission denied"):
        Storage(str(tmp_path / "shut")).files()


@pytest.mark.parametrize("address", ["s3://user:secret@bucket/x", "zip://a::file://b", "nothing://x"])
def test_addresses_that_are_refused(address):
    with pytest.raises(ParameterError) as caught:
        Storage(address)
    assert "secret" not in str(caught.value)


def test_one_folder_has_one_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    same = [
        Storage(one) for one in ("data", "link/", "./data/../data", f"file://{tmp_path}/data", str(tmp_path / "data"))
    ]
    assert {one.address for one in same} == {"data"}
    assert Storage("memory://a/b").overlaps(Storage("memory://a"))
    assert not Storage("memory://ab").overlaps(Storage("memory://a"))
    assert not Storage("memory://a").overlaps(Storage("/a"))


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("day=2026-01-01/a b.csv.gz", "day=2026-01-01/a b.csv.gz"),
        ("données/漢.csv", "données/漢.csv"),
        ("a%41.csv", "a%2541.csv"),
        ("a\\b:c\n.csv", "a%5Cb%3Ac%0A.csv"),
        (os.fsdecode(b"\xff.csv"), "%FF.csv"),
        ("x.parquet/y.parquet", "x%2Eparquet/y.parquet"),
        ("a//b/../~c", "a/%/b/%%2E%2E/%7Ec"),
    ],
)
def test_safe_names(name, safe):
    assert safe_name(name) == safe
    assert shown_name(name) == (name if name.isprintable() else safe)


def test_long_names_stay_short_and_different():
    long, deep = "x" * 240 + ".csv.gz", "/".join(["y" * 100] * 20) + "/a.csv"
    assert safe_name(long).endswith(".csv.gz")
    assert max(len(part.encode()) for part in safe_name(f"{long}/{long}").split("/")) <= 120
    assert len(safe_name(deep)) < 100
    names = [long, f"x{long}", "é" * 127, deep, f"y{deep}", safe_name(long), safe_name(deep)]
    assert len({safe_name(name) for name in names}) == len(names)
