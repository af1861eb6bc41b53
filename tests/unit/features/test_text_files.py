import gzip
from pathlib import Path

import pytest

from unroll.errors import FormatError
from unroll.features import text_files


def _file(folder: Path, content: bytes, name: str = "own.txt") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_plain_and_gzipped_files_read_alike(tmp_path: Path) -> None:
    content = "Grüße\nनमस्ते\n".encode()
    plain = _file(tmp_path, content)
    # Told by its bytes: the name says nothing.
    packed = _file(tmp_path, gzip.compress(content), "packed.txt")
    assert text_files.read_text(plain) == text_files.read_text(packed) == "Grüße\nनमस्ते\n"


def test_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    assert text_files.read_text(_file(tmp_path, b"\xef\xbb\xbftext,label\n")) == "text,label\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"first\nsecond \xff line\n", r"own\.txt is no UTF-8 text: byte 0xff at byte offset 13, in line 2; save"),
        (b"\xef\xbb\xbfab\n\xe9t\xe9\n", r"byte 0xe9 at byte offset 6, in line 2"),
        (b"ends in \xe2\x80", r"byte 0xe2 at byte offset 8, in line 1"),
        (gzip.compress(b"packed\n\n\xc3(", mtime=0), r"byte 0xc3 at byte offset 8 of its unpacked content, in line 3"),
    ],
)
def test_invalid_utf8_names_file_and_byte(tmp_path: Path, content: bytes, told: str) -> None:
    with pytest.raises(FormatError, match=told):
        text_files.read_text(_file(tmp_path, content))


def test_gzip_that_was_cut_short(tmp_path: Path) -> None:
    path = _file(tmp_path, gzip.compress(b"some text" * 100)[:-9])
    with pytest.raises(FormatError, match=r"own\.txt cannot be unpacked: .*; fetch it again"):
        text_files.read_text(path)


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read: Is a directory"):
        text_files.read_text(tmp_path)


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\r\nb", ["a", "b"]),
        (b"a\n\nb\n\n", ["a", "", "b", ""]),
        (b"", []),
        # These end a line for str.splitlines, and would shift one of two parallel files.
        ("a\u2028b\x0bc\x85d\n".encode(), ["a\u2028b\x0bc\x85d"]),
    ],
)
def test_lines_are_those_of_an_editor(tmp_path: Path, content: bytes, lines: list[str]) -> None:
    assert text_files.read_lines(_file(tmp_path, content)) == lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  e\u0301te\u0301 ", "été"),
        ("Co\u00adope\u200bra", "Coopera"),
        # Joiners are letters' business in Devanagari.
        ("क्\u200dष", "क्\u200dष"),
    ],
)
def test_text_comes_in_one_form(text: str, expected: str) -> None:
    assert text_files.normal(text) == expected


def test_every_blank_becomes_a_plain_one() -> None:
    assert text_files.one_line("Ça\u202f va\u00a0? \u3000Oui\u2009!\t") == "Ça va ? Oui !"


def test_files_of_a_folder_by_name(tmp_path: Path) -> None:
    for name in ("b.TXT", "a.txt.gz", "c.csv", "notes.md"):
        _file(tmp_path, b"", name)
    assert [path.name for path in text_files.files_of(tmp_path, (".txt",))] == ["a.txt.gz", "b.TXT"]
    assert text_files.files_of(tmp_path / "c.csv", (".txt",)) == [tmp_path / "c.csv"]
    with pytest.raises(FormatError, match=r"has no file that ends in \.abc"):
        text_files.files_of(tmp_path, (".abc",))
