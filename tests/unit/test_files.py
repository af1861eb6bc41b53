"""Files are written whole or not at all; printed and logged text holds no secret and no control character."""

import json
import subprocess
import sys

import pytest

from unroll import files
from unroll.config.sources import UrlSource
from unroll.redaction import SECRETS, printable, redacted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://u:p@db:5432/x", "postgresql://u:***@db:5432/x"),
        ("postgresql+psycopg://u:p/q@r@db/x failed", "postgresql+psycopg://u:***@db/x failed"),
        (
            "postgresql://u:p@db/x?sslmode=require&sslpassword=y",
            "postgresql://u:***@db/x?sslmode=require&sslpassword=***",
        ),
        ("at http://u:p@a/x and http://b/y", "at http://u:***@a/x and http://b/y"),
        ("https://hunter2@example.com/x.csv", "https://***@example.com/x.csv"),
        (
            "https://b.s3/x?X-Amz-Credential=k&X-Amz-Signature=s1",
            "https://b.s3/x?X-Amz-Credential=***&X-Amz-Signature=***",
        ),
        ("https://b/x?sv=1&sig=abc%2F", "https://b/x?sv=1&sig=***"),
        ("http://127.0.0.1:5000/#/models/digit-rows@champion", "http://127.0.0.1:5000/#/models/digit-rows@champion"),
        ("models:/digit-rows@champion", "models:/digit-rows@champion"),
        ("s3://bucket/day=1/a@b.parquet", "s3://bucket/day=1/a@b.parquet"),
        ("row X@2020-01-03 of a.csv: 1//2", "row X@2020-01-03 of a.csv: 1//2"),
    ],
)
def test_addresses_lose_their_secrets(text, expected):
    assert redacted(text) == expected
    assert redacted(expected) == expected


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_of_the_environment_are_replaced(name, monkeypatch):
    monkeypatch.setenv(name, "wJalrXUt/nFEMI")
    assert redacted("the key wJalrXUt/nFEMI was refused") == "the key *** was refused"


def test_an_address_is_recorded_without_its_password(tmp_path, monkeypatch):
    from unroll.sources import fetch as sources

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "_download", lambda _, path: path.write_bytes(b"1"))
    digest = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    source = UrlSource(kind="url", url="https://u:hunter2@example.com/a.csv?token=t0ken", sha256=digest)
    fetched = sources.fetch(source)
    assert json.dumps(fetched.record).count("***") == 2
    assert "hunter2" not in json.dumps(fetched.record)
    assert fetched.path.name == "a.csv"


def test_control_characters_are_escaped():
    assert printable("a\x1b[31m\x07\r\u202e\udcff é 字\nb") == "a\\x1b[31m\\x07\\r\\u202e\\udcff é 字\nb"


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
