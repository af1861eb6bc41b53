from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from unroll.config.sources import PathSource
from unroll.domains.pairs import dataset as pairs
from unroll.domains.pairs.config import PairDataset
from unroll.errors import FormatError
from unroll.sources.fetch import Fetched

SECTION = PairDataset(domain="pairs", sources=(PathSource(kind="path", path="unused"),))


def _file(folder: Path, name: str, *lines: str, end: str = "\n") -> Path:
    path = folder / name
    path.write_bytes("".join(f"{line}{end}" for line in lines).encode())
    return path


def _read(*paths: Path, splits: tuple[str | None, ...] = ()) -> tuple[pa.Table, list[dict[str, Any]]]:
    wanted = splits or (None,) * len(paths)
    fetched = [Fetched(path, {"path": path.name}, split, False) for path, split in zip(paths, wanted, strict=True)]
    return pairs.read_dataset(fetched, SECTION)


def _rows(table: pa.Table) -> list[tuple[str, str]]:
    return list(zip(table.column("source").to_pylist(), table.column("target").to_pylist(), strict=True))


def test_tab_separated_pairs_with_further_columns(tmp_path: Path) -> None:
    path = _file(tmp_path, "eng-fra.txt", "Help!\tÀ l'aide\u202f!\tCC-BY", "", "Go.\tVa\u00a0 !\tCC-BY\t7", end="\r\n")
    table, records = _read(path, splits=("train",))
    assert table.schema == pairs.SCHEMA
    assert _rows(table) == [("Help!", "À l'aide !"), ("Go.", "Va !")]
    assert table.column("split").to_pylist() == ["train", "train"]
    assert records == [{"path": "eng-fra.txt", "files": [{"file": "eng-fra.txt", "rows": 2, "columns": 4}]}]


def test_two_parallel_files(tmp_path: Path) -> None:
    english = _file(tmp_path, "own.en", "Hello.", "", "A line\u2028break")
    hindi = _file(tmp_path, "own.hi", "नमस्ते।", " ", "टूटी पंक्ति")
    table, records = _read(english, hindi)
    assert _rows(table) == [("Hello.", "नमस्ते।"), ("A line break", "टूटी पंक्ति")]
    assert [one["side"] for one in records] == ["source", "target"]
    assert records[1] == {"path": "own.hi", "side": "target", "rows": 2, "blank_lines": 1}


def test_text_is_nfc(tmp_path: Path) -> None:
    assert _rows(_read(_file(tmp_path, "own.tsv", "summer\te\u0301te\u0301"))[0]) == [("summer", "été")]


def test_several_sources_keep_their_splits(tmp_path: Path) -> None:
    train = [_file(tmp_path, "train.en", "a", "b"), _file(tmp_path, "train.fr", "c", "d")]
    test = _file(tmp_path, "test.tsv", "e\tf")
    table, _ = _read(*train, test, splits=("train", "train", "test"))
    assert table.to_pylist() == [
        {"row_id": 0, "split": "train", "source": "a", "target": "c"},
        {"row_id": 1, "split": "train", "source": "b", "target": "d"},
        {"row_id": 2, "split": "test", "source": "e", "target": "f"},
    ]


def test_folder_of_tab_separated_files(tmp_path: Path) -> None:
    _file(tmp_path, "b.tsv", "3\t4")
    _file(tmp_path, "a.txt", "1\t2")
    assert _rows(_read(tmp_path)[0]) == [("1", "2"), ("3", "4")]


def test_unequal_parallel_files(tmp_path: Path) -> None:
    english, french = _file(tmp_path, "own.en", "one", "two", "three"), _file(tmp_path, "own.fr", "un", "deux")
    told = r"unequal length: .*own\.en has 3 lines, .*own\.fr 2; line n of one has to translate line n of the other"
    with pytest.raises(FormatError, match=told):
        _read(english, french)


def test_pair_line_without_a_tab(tmp_path: Path) -> None:
    path = _file(tmp_path, "own.tsv", "Go.\tVa !", "", "Help! À l'aide !")
    with pytest.raises(FormatError, match=r"own\.tsv, line 3: no tab between two sentences, found .Help! À l'aide !"):
        _read(path)


@pytest.mark.parametrize("split", [None, "test"])
def test_parallel_file_without_its_partner(tmp_path: Path, split: str | None) -> None:
    sources = [_file(tmp_path, "own.en", "one")]
    if split:
        sources.append(_file(tmp_path, "own.fr", "un"))
    with pytest.raises(FormatError, match=r"own\.en: its first line has no tab, so it is one of two parallel files"):
        _read(*sources, splits=("train", split)[: len(sources)])


@pytest.mark.parametrize(("line", "side"), [("Go.\t\u00a0", "target"), ("\tVa !", "source")])
def test_empty_side(tmp_path: Path, line: str, side: str) -> None:
    path = _file(tmp_path, "own.tsv", "Help!\tÀ l'aide !", line)
    with pytest.raises(FormatError, match=rf"own\.tsv, line 2: the {side} is empty; remove the pair"):
        _read(path)


def test_empty_side_of_parallel_files(tmp_path: Path) -> None:
    sources = [_file(tmp_path, "own.en", "one", "two"), _file(tmp_path, "own.fr", "un", "")]
    with pytest.raises(FormatError, match=r"own\.en and .*own\.fr, line 2: the target is empty"):
        _read(*sources)


def test_empty_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"own\.tsv is empty: sentence pairs were expected"):
        _read(_file(tmp_path, "own.tsv", "", " "))
