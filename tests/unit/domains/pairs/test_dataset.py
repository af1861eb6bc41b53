"""Tab-separated and parallel files of sentence pairs as a table."""

from pathlib import Path

import pytest

from unroll.config.sources import PathSource
from unroll.domains.pairs.config import PairDataset
from unroll.domains.pairs.dataset import SCHEMA, read_dataset
from unroll.errors import FormatError
from unroll.sources.fetch import Fetched
from unroll.sources.ingested import Ingested

SECTION = PairDataset(domain="pairs", sources=(PathSource(kind="path", path="unused"),))


def _read(folder: Path, **files: str) -> Ingested:
    """The rows of files; a name is split and ending: `train_tsv`, `test_en`."""
    fetched = []
    for name, content in files.items():
        split, _, ending = name.partition("_")
        path = folder / f"{split}.{ending}"
        path.write_bytes(content.encode())
        fetched.append(Fetched(path, {"path": path.name}, split, False))
    return read_dataset(fetched, SECTION)


def _pairs(ingested: Ingested) -> list[tuple[str, str]]:
    return [(row["source"], row["target"]) for row in ingested.table.to_pylist()]


def test_tab_separated_pairs_with_further_columns(tmp_path: Path) -> None:
    content = "Help!\tA\u0300 l'aide\u202f!\tCC-BY\r\n\r\nGo.\tVa\u00a0 !\tCC-BY\t7\r\n"
    ingested = _read(tmp_path, train_txt=content)
    assert ingested.table.schema == SCHEMA
    assert _pairs(ingested) == [("Help!", "À l'aide !"), ("Go.", "Va !")]
    assert ingested.sources == [{"path": "train.txt", "files": [{"file": "train.txt", "rows": 2, "columns": 4}]}]


def test_two_parallel_files(tmp_path: Path) -> None:
    ingested = _read(tmp_path, train_en="Hello.\n\nA line\u2028break\n", train_hi="नमस्ते।\n \nटूटी पंक्ति")
    assert _pairs(ingested) == [("Hello.", "नमस्ते।"), ("A line break", "टूटी पंक्ति")]
    assert [one["side"] for one in ingested.sources] == ["source", "target"]
    assert ingested.sources[1] == {"path": "train.hi", "side": "target", "rows": 2, "blank_lines": 1}


def test_several_sources_keep_their_splits(tmp_path: Path) -> None:
    table = _read(tmp_path, train_en="a\nb", train_fr="c\nd", test_tsv="e\tf").table
    assert table.to_pylist() == [
        {"row_id": 0, "split": "train", "source": "a", "target": "c"},
        {"row_id": 1, "split": "train", "source": "b", "target": "d"},
        {"row_id": 2, "split": "test", "source": "e", "target": "f"},
    ]


def test_folder_of_tab_separated_files(tmp_path: Path) -> None:
    (tmp_path / "b.tsv").write_text("3\t4")
    (tmp_path / "a.txt").write_text("1\t2")
    assert _pairs(read_dataset([Fetched(tmp_path, {}, None, False)], SECTION)) == [("1", "2"), ("3", "4")]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train_en": "one\ntwo\nthree", "train_fr": "un\ndeux"}, r"train\.en has 3 lines, .*train\.fr 2"),
        ({"train_tsv": "Go.\tVa !\n\nHelp! À l'aide !"}, r"train\.tsv, line 3: .* found \"Help! À l'aide !\""),
        ({"train_en": "one", "test_fr": "un"}, r"train\.en: its first line has no tab"),
        ({"train_tsv": "a\tb\nGo.\t\u00a0"}, r"train\.tsv, line 2: the target is empty"),
        ({"train_en": "one\ntwo", "train_fr": "un\n\n"}, r"train\.en and .*train\.fr, line 2: the target is empty"),
    ],
)
def test_files_that_are_not_pairs(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        _read(tmp_path, **files)
