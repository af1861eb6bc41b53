import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from unroll.config import MelodyDataset, PathSource
from unroll.domains.tunes import abc_notation
from unroll.domains.tunes import dataset as melodies
from unroll.errors import FormatError
from unroll.sources.fetch import Fetched

SECTION = MelodyDataset(kind="melodies", sources=(PathSource(kind="path", path="unused"),))
JIG = "X:1\nT:LANIGAN'S BALL -- JIG\nM:6/8\nL:1/8\nK:Em\nuF \\\n| E2F G2A | BBB E2 :|\n"
REEL = "X: 2\nT:A reel\nM:C|\nL:1/8\nK:D\nD2 FA |]\n"
BROKEN = "X:3\nT:Broken\nM:4/4\nK:C\nC =| D\n"


def _file(folder: Path, content: str, name: str = "own.abc") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def _read(path: Path, split: str | None = None) -> tuple[pa.Table, list[dict[str, Any]]]:
    return melodies.read_sources([Fetched(path, {}, split, False)], SECTION)


def test_tunes_of_a_file(tmp_path: Path) -> None:
    table, records = _read(_file(tmp_path, f"{JIG}\n{REEL}"), "train")
    assert table.schema == melodies.SCHEMA
    assert table.to_pylist() == [
        {
            "row_id": 0,
            "split": "train",
            "file": "own.abc",
            "title": "LANIGAN'S BALL -- JIG",
            "key": "E",
            "mode": "minor",
            "meter": "6/8",
            "notes": "mode:minor meter:6/8 2_12 | 0_24 2_12 3_24 5_12 | 7_12 7_12 7_12 0_24 |",
        },
        {
            "row_id": 1,
            "split": "train",
            "file": "own.abc",
            "title": "A reel",
            "key": "D",
            "mode": "major",
            "meter": "C|",
            "notes": "mode:major meter:C| 0_24 4_12 7_12 |",
        },
    ]
    assert records == [{"files": 1, "rows": 2, "left_out": [], "rounded_lengths": 0}]


def test_every_token_is_of_the_form_that_is_expected(tmp_path: Path) -> None:
    for notes in _read(_file(tmp_path, JIG + REEL))[0].column("notes").to_pylist():
        assert all(abc_notation.TOKEN.fullmatch(token) for token in notes.split()[2:])


def test_transposing_changes_the_key_alone(tmp_path: Path) -> None:
    lower = re.sub("^K:D\nD2 FA", "K:C\nC2 EG", REEL, flags=re.MULTILINE)
    table, _ = _read(_file(tmp_path, REEL + lower))
    assert len(set(table.column("notes").to_pylist())) == 1
    assert table.column("key").to_pylist() == ["D", "C"]


def test_files_of_a_folder_by_name(tmp_path: Path) -> None:
    _file(tmp_path, REEL, "b.abc")
    _file(tmp_path, JIG, "a.abc")
    _file(tmp_path, "", "readme.txt")
    table, records = _read(tmp_path)
    assert table.column("file").to_pylist() == ["a.abc", "b.abc"]
    assert records[0]["files"] == 2


def test_tune_that_cannot_be_parsed_is_left_out_and_named(tmp_path: Path) -> None:
    table, records = _read(_file(tmp_path, JIG + BROKEN + REEL))
    assert table.column("title").to_pylist() == ["LANIGAN'S BALL -- JIG", "A reel"]
    assert table.column("row_id").to_pylist() == [0, 1]
    why = "'=' in 'C =| D' is no ABC that is understood"
    assert records[0]["left_out"] == [{"file": "own.abc", "tune": "3", "why": why}]


def test_no_tune_could_be_parsed(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"no tune could be parsed; the first, own\.abc X:3: '=' in"):
        _read(_file(tmp_path, BROKEN))


@pytest.mark.parametrize("music", ["", "z4 | z4 |]", "% nothing", "w: la la"])
def test_tune_without_notes(tmp_path: Path, music: str) -> None:
    with pytest.raises(FormatError, match=r"own\.abc, tune X:7: it has no notes; remove it"):
        _read(_file(tmp_path, f"{JIG}\nX: 7\nT:Silence\nM:4/4\nK:C\n{music}\n"))


@pytest.mark.parametrize("content", ["", "T:no number\nK:C\nCDE\n"])
def test_file_without_a_tune(tmp_path: Path, content: str) -> None:
    with pytest.raises(FormatError, match=r"own\.abc has no tune: none of its lines begins with X:"):
        _read(_file(tmp_path, content))


def test_invalid_utf8(tmp_path: Path) -> None:
    (tmp_path / "own.abc").write_bytes(JIG.encode() + b"X:2\nT:Caf\xe9\n")
    with pytest.raises(FormatError, match=r"own\.abc is no UTF-8 text: byte 0xe9"):
        _read(tmp_path)
