"""Files are written whole, or not at all."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from unroll import files


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_a_file_is_moved_into_its_place(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    with files.replacing(path) as part:
        part.write_text("content")
        assert not path.exists()
        assert part.parent == path.parent
    assert path.read_text() == "content"
    assert not hidden(path.parent)


def test_an_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with files.replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("there", [True, False])
def test_an_error_leaves_what_was_there(tmp_path, there):
    path = tmp_path / "a.txt"
    if there:
        path.write_text("old")

    def write():
        with files.replacing(path) as part:
            part.write_text("half")
            raise KeyError("x")

    with pytest.raises(KeyError):
        write()
    assert path.exists() is there
    if there:
        assert path.read_text() == "old"
    assert not hidden(tmp_path)


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


def test_an_error_leaves_the_old_folder(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old.txt").write_text("old")

    def write():
        with files.replacing(path) as part:
            part.mkdir()
            (part / "new.txt").write_text("new")
            raise KeyError("x")

    with pytest.raises(KeyError):
        write()
    assert [one.name for one in path.iterdir()] == ["old.txt"]
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


@pytest.mark.parametrize("value", [0.1 + 0.2, 1e-308, 123456789.123456789])
def test_numbers_come_back_to_the_bit(tmp_path, value):
    files.write_json(tmp_path / "a", value)
    assert files.read_json(tmp_path / "a") == value
    assert json.loads((tmp_path / "a").read_text()) == value


@pytest.mark.parametrize("content", [b"", b"abc", b"x" * 3_000_000])
def test_sha256(tmp_path, content):
    path = Path(tmp_path / "a")
    path.write_bytes(content)
    assert files.sha256_of(path) == hashlib.sha256(content).hexdigest()
