"""Files are written whole, or not at all."""

import subprocess
import sys

import pytest

from unroll import files


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_an_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    for old, new in ((None, "one"), ("one", "two")):
        with files.replacing(path) as part:
            part.write_text(new)
            assert part.parent == path.parent
            assert (path.read_text() if path.exists() else None) == old
        assert path.read_text() == new
        assert not hidden(path.parent)


@pytest.mark.parametrize("folder", [False, True])
def test_an_error_leaves_what_was_there(tmp_path, folder):
    old = tmp_path / "a" / "b.txt"
    old.parent.mkdir()
    old.write_text("old")

    def write():
        with files.replacing(old.parent if folder else old) as part:
            if folder:
                part.mkdir()
                part /= "b.txt"
            part.write_text("half")
            raise KeyError("x")

    with pytest.raises(KeyError):
        write()
    assert old.read_text() == "old"
    assert not hidden(tmp_path)
    assert not hidden(old.parent)


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_is_replaced_whole(tmp_path, there):
    path = tmp_path / "folder"
    if there:
        path.mkdir()
        (path / "old.txt").write_text("old")
    with files.replacing(path) as part:
        part.mkdir()
        (part / "new.txt").write_text("new")
        assert [one.name for one in path.iterdir()] == ["old.txt"] if there else not path.exists()
    assert [one.name for one in path.iterdir()] == ["new.txt"]
    assert not hidden(tmp_path)


def test_a_killed_process_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    code = (
        "import os, sys, pathlib\nfrom unroll import files\n"
        "with files.replacing(pathlib.Path(sys.argv[1])) as part:\n"
        "    part.write_text('half')\n    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -9
    assert path.read_text() == "old"
    (left,) = hidden(tmp_path)
    assert left.startswith(".a.txt.")
    assert left.endswith(".part")


def test_text_has_unix_line_ends_and_utf8(tmp_path):
    files.write_text(tmp_path / "a", "ä\nb\n")
    assert (tmp_path / "a").read_bytes() == "ä\nb\n".encode()


def test_equal_values_are_equal_bytes(tmp_path):
    files.write_json(tmp_path / "a", {"x": 1, "y": [0.1, None, "ü"]})
    files.write_json(tmp_path / "b", {"y": [0.1, None, "ü"], "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert files.read_json(tmp_path / "a") == {"x": 1, "y": [0.1, None, "ü"]}
    assert "ü" in (tmp_path / "a").read_text(encoding="utf-8")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [-float("inf")]}])
def test_json_without_numbers_that_are_none(tmp_path, value):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a", value)
    assert not list(tmp_path.iterdir())
