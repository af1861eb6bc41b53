"""ABC files as a table."""

import pytest

from unroll.domains.tunes.config import TuneDataset
from unroll.domains.tunes.dataset import SCHEMA, read_dataset
from unroll.errors import FormatError
from unroll.sources.fetch import Fetched

SECTION = TuneDataset(domain="tunes", sources=({"kind": "path", "path": "a"},))
FILE = """\
%abc
X:1
T:First
L:1/8
M:6/8
K:D major % two sharps
%%slurgraces 1
"_mf"|:d2A|\\
K:G
w:la la
G3:|

Words about the tune.
X:2
K:Am
e4|]
"""


def test_a_row_is_a_tune(tmp_path):
    (tmp_path / "b.abc").write_text("X:7\nM:C\nK:C\nc")
    (tmp_path / "a.abc").write_bytes(FILE.replace("\n", "\r\n").encode())
    (tmp_path / "readme.txt").write_text("X:8\nK:C\nc")
    found = read_dataset([Fetched(tmp_path, {"kind": "path"}, "train", False)], SECTION)
    assert found.table.schema == SCHEMA
    assert found.table.to_pylist() == [
        {"row_id": 0, "split": "train", "text": 'M:6/8\nK:D major\nL:1/8\n"_mf"|:d2A|\\\n[K:G]\nG3:|'},
        {"row_id": 1, "split": "train", "text": "K:Am\ne4|]"},
        {"row_id": 2, "split": "train", "text": "M:C\nK:C\nc"},
    ]
    assert found.sources == [{"kind": "path", "files": 2, "rows": 3}]


@pytest.mark.parametrize(
    ("content", "named"),
    [("T:no tune\nK:D\nd", "X:"), ("X:3\nK:D\n\nd", "X:3"), ("X:4\nM:C\nd", "X:4"), ("X:5\nK:C\nK:D\n|z|", "X:5")],
)
def test_a_file_without_a_whole_tune(tmp_path, content, named):
    (tmp_path / "a.abc").write_text(f"X:1\nK:C\nc\n\n{content}" if named != "X:" else content)
    with pytest.raises(FormatError, match=rf"a\.abc.*{named}"):
        read_dataset([Fetched(tmp_path / "a.abc", {}, None, False)], SECTION)
