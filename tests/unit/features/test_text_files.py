"""Text files: strict UTF-8, plain or gzipped, in one form of Unicode."""

import gzip
import io
import zipfile

import pytest

from unroll.errors import FormatError
from unroll.features import text_files


@pytest.fixture
def file(tmp_path):
    def write(content, name="own.txt"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def zipped(*contents, damaged=False):
    """A zip archive of files without compression; if damaged, other bytes than the checksum says."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"{number}.txt", content)
    return packed.getvalue().replace(b"damage", b"DAMAGE") if damaged else packed.getvalue()


def test_plain_and_gzipped_files_read_alike(file):
    content = "Grüße\nनमस्ते\n".encode()
    for stored in (content, b"\xef\xbb\xbf" + content, gzip.compress(content), zipped(content)):
        # Gzip is recognized by its bytes, not by its name.
        assert text_files.read_text(file(stored)) == content.decode()


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"first\nsecond \xff line\n", "0xff .*13.* line 2"),
        (b"\xef\xbb\xbfab\n\xe9t\xe9\n", "0xe9 .*6.* line 2"),
        (gzip.compress(b"packed\n\n\xc3(", mtime=0), "0xc3 .*8 of its unpacked content.* line 3"),
        (gzip.compress(b"some text" * 100, mtime=0)[:-9], "ended before"),
        (zipped(b"some damage", damaged=True), "damaged zip archive"),
        (zipped(b"one", b"two"), "zip archive"),
    ],
)
def test_a_file_that_is_not_utf8_or_cut_short(file, content, where):
    with pytest.raises(FormatError, match=rf"own\.txt .*{where}"):
        text_files.read_text(file(content))


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"a\r\nb\n", ["a", "b"]),
        (b"a\n\nb\n\n", ["a", "", "b", ""]),
        (b"", []),
        (b"a\rb\r\rc", ["a", "b", "", "c"]),
        # str.splitlines ends a line at these, which would shift one of two parallel files.
        ("a\u2028b\x0bc\x85d\n".encode(), ["a\u2028b\x0bc\x85d"]),
    ],
)
def test_lines_end_at_line_feeds_or_else_at_carriage_returns(file, content, lines):
    assert text_files.read_lines(file(content)) == lines


@pytest.mark.parametrize(
    # Joiners belong to words in Devanagari.
    ("text", "expected"),
    [("  e\u0301te\u0301 ", "été"), ("Co\u00adope\u200bra", "Coopera"), ("क्\u200dष", "क्\u200dष")],
)
def test_text_has_one_form(text, expected):
    assert text_files.normal(text) == expected
    assert text_files.one_line("Ça\u202f va\u00a0? \u3000Oui\u2009!\t") == "Ça va ? Oui !"


def test_files_of_a_folder_by_name(file, tmp_path):
    for name in ("b.TXT", "a.txt.gz", "c.csv", "notes.md"):
        file(b"", name)
    assert [path.name for path in text_files.files_of(tmp_path, (".txt",))] == ["a.txt.gz", "b.TXT"]
    assert text_files.files_of(tmp_path / "c.csv", (".txt",)) == [tmp_path / "c.csv"]
    with pytest.raises(FormatError, match=r"\.abc"):
        text_files.files_of(tmp_path, (".abc",))
