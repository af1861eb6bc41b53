"""Tables in text files: what the file shows is read, what it leaves open is an error that names the setting."""

import csv
import gzip
import io

import pandas as pd
import pytest

from unroll.config.sources import TableSettings
from unroll.errors import FormatError
from unroll.sources.forms import form_of, require_text
from unroll.sources.layouts import layout_of, read_table
from unroll.sources.lines import iter_lines

CELLS = ['she said ""twice""', '"all of it"', "a\tb", "a,b;c|d", "two\nlines", "two\r\nlines", "", " x ", "'", '"']


@pytest.fixture
def file(tmp_path):
    def write(content, name="own.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("name", "content", "settings", "names", "rows"),
    [
        ("lines", '\n a ,"b\r\nc"\n1,"2\n"\n \n,4\r\n', {}, ["a", "b\r\nc"], [(4, ["1", "2\n"]), (7, ["", "4"])]),
        ("semicolons", 'id;"a, b";"c, d"\n1;2,5;3', {}, ["id", "a, b", "c, d"], [(2, ["1", "2,5", "3"])]),
        ("commas in a header", "id;open, high;x\n1;2;3", {}, ["id", "open, high", "x"], [(2, ["1", "2", "3"])]),
        ("known names", "text,x;y\na,1;2\n", {}, ["text", "x;y"], [(2, ["a", "1;2"])]),
        ("pipes", "a|b\n1|2\n", {}, ["a", "b"], [(2, ["1", "2"])]),
        ("Excel", "sep=;\na;b\n1,5;2,5\n", {}, ["a", "b"], [(3, ["1,5", "2,5"])]),
        ("one column", "text\na\n\nb\n", {}, ["text"], [(2, ["a"]), (3, [""]), (4, ["b"])]),
        ("CR", b"a,b\r1,2\r3,4", {}, ["a", "b"], [(2, ["1", "2"]), (3, ["3", "4"])]),
        ("given separator", "1,5;2,5\n", {"separator": ";", "header": False}, ["0", "1"], [(1, ["1,5", "2,5"])]),
        ("given names", "1,x\n", {"column_names": ("a", "b")}, ["a", "b"], [(1, ["1", "x"])]),
        ("names as given", "A,b\n1,x\n", {"column_names": ("a", "b")}, ["a", "b"], [(2, ["1", "x"])]),
        ("other names", "x,y\n1,2\n", {"column_names": ("a", "b"), "header": True}, ["a", "b"], [(2, ["1", "2"])]),
        ("star", "7,1,2,3\n", {"column_names": ("label", "*")}, ["label", "0", "1", "2"], [(1, ["7", "1", "2", "3"])]),
        ("tsv", 'a\tb\n"1\t2"\n', {"quotes": False}, ["a", "b"], [(2, ['"1', '2"'])]),
        ("stray.tsv", 'a\tb\n"Hello" he said\tx\n', {}, ["a", "b"], [(2, ['"Hello" he said', "x"])]),
        ("lone.tsv", 'a\tb\n"\tx\n', {}, ["a", "b"], [(2, ['"', "x"])]),
        ("all.tsv", '"a"\t"b"\n"x"\t"y"\n', {}, ["a", "b"], [(2, ["x", "y"])]),
        ("minimal.tsv", 'a\tb\n"say ""x"""\ty\n', {}, ["a", "b"], [(2, ['say "x"', "y"])]),
        ("column.tsv", '"a"\tb\n"x"\t1\n""\t2\n', {}, ["a", "b"], [(2, ["x", "1"]), (3, ["", "2"])]),
    ],
)
def test_what_a_table_has(file, name, content, settings, names, rows):
    path = file(content, name if "." in name else "own.csv")
    assert read_table(path, TableSettings(**settings), ("text", "label")) == (names, rows)
    packed = file(gzip.compress(path.read_bytes()), f"{path.name}.gz")
    assert read_table(packed, TableSettings(**settings), ("text", "label")) == (names, rows)


@pytest.mark.parametrize(
    ("name", "content", "settings", "message"),
    [
        ("a.csv", "1,5;2,5\n3,5;4,5\n", {}, "',' or ';'; set `separator`"),
        ("a.tsv", 'a\tb\n"Wonderful"\tx\nno\ty\n', {}, "`quotes`"),
        ("a.tsv", 'a\tb\n"a\tx\nb"\ty\n', {}, "`quotes`"),
        ("a.csv", 'a,b\n"x" y,2\n', {}, "line 2 .*`quotes: false`"),
        ("a.csv", "a,b\n1,2,3", {}, "line 2: 3 cells"),
        ("a.csv", 'a,b\n1,"2', {}, "line 2"),
        ("a.csv", "\n", {}, "empty"),
        ("a.csv", "text\na\rb\n", {}, r"line 2 has a carriage return"),
        ("a.csv", "a,b\n1,2\n", {"column_names": ("x", "y", "z")}, "2 columns, and `column_names` 3"),
    ],
)
def test_what_a_table_leaves_open_or_lacks(file, name, content, settings, message):
    with pytest.raises(FormatError, match=message):
        read_table(file(content, name), TableSettings(**settings))


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_cells_are_those_that_pandas_and_csv_write(file, quoting, end, separator):
    frame = pd.DataFrame({"n": range(len(CELLS)), "text": CELLS})
    by_pandas = frame.to_csv(sep=separator, index=False, quoting=quoting, lineterminator=end)
    by_csv = io.StringIO(newline="")
    csv.writer(by_csv, delimiter=separator, quoting=quoting, lineterminator=end).writerows(
        [["n", "text"], *frame.to_numpy().tolist()]
    )
    for content in (by_pandas, by_csv.getvalue()):
        names, rows = read_table(file(content, "a.tsv" if separator == "\t" else "a.csv"), TableSettings())
        assert names == ["n", "text"]
        assert [cells for _, cells in rows] == [[str(n), cell] for n, cell in enumerate(CELLS)]


def test_a_header_is_told_from_the_first_block(file):
    numbers = file("1,2\n3,4\n")
    assert layout_of(numbers, TableSettings(), has_header=lambda rows: not rows[0][0].isdecimal()).names == ("0", "1")
    assert layout_of(numbers, TableSettings(header=True), has_header=lambda _: False).names == ("1", "2")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PAR1", "is Parquet"),
        (b"PK\x03\x04", "zip"),
        (b'\xef\xbb\xbf [\n {"a": 1}]', "JSON array"),
        (b"\n<!DOCTYPE html><html>", "web page"),
        (b"\xff\xfe\0\xd8,\0", "not UTF-16"),
        ("a,b".encode("utf-32"), "UTF-32"),
        ("a,b\n".encode("utf-16-le"), "UTF-16"),
        (b"\x80\x04\x95", "pickle"),
        (bytes(range(32)) * 9, "binary"),
    ],
)
def test_what_is_not_text_is_named(file, content, what):
    for path in (file(content), file(gzip.compress(content), "own.csv.gz")):
        for read in (require_text, form_of, lambda path: list(iter_lines(path))):
            if what not in ("is Parquet", "JSON array") or read is not form_of:
                with pytest.raises(FormatError, match=f"own.csv.* {what}"):
                    read(path)


def test_lines_without_line_feeds_end_at_carriage_returns(file):
    long = [f"line {number}" for number in range(20_000)]
    assert [line.rstrip("\r") for line in iter_lines(file("\r".join(long)))] == long
    assert list(iter_lines(file(b"\xef\xbb\xbfa\rb\n"))) == ["a\rb\n"]
