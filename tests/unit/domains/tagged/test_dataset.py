from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from unroll.config.sources import PathSource
from unroll.domains.tagged import dataset as tagged
from unroll.domains.tagged.config import TaggedDataset
from unroll.errors import FormatError
from unroll.sources.fetch import Fetched

SPLITS = ("train", "valid", "test")
SECTION = TaggedDataset(
    domain="tagged", sources=tuple(PathSource(kind="path", path="unused", split=split) for split in SPLITS)
)


def _file(folder: Path, *lines: str, name: str = "train.conll") -> Path:
    path = folder / name
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _tags(folder: Path, tags: str, name: str = "train.conll") -> Path:
    """One sentence of these tags."""
    return _file(folder, *(f"w{place} {tag}" for place, tag in enumerate(tags.split())), name=name)


def _read(*paths: Path) -> tuple[pa.Table, list[dict[str, Any]]]:
    fetched = [Fetched(path, {"path": path.name}, split, False) for path, split in zip(paths, SPLITS, strict=False)]
    return tagged.read_dataset(fetched, SECTION)


def test_token_first_tag_last(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        "-DOCSTART- -X- -X- O",
        "",
        "EU NNP B-NP B-ORG",
        "rejects VBZ B-VP O",
        "",
        "",
        "New York\tNNP\tB-LOC",
        "e\u0301te\u0301\tNN\tO",
        "-DOCSTART-",
        "# id = 7",
        "# O",
        "1 O",
    )
    table, records = _read(path)
    assert table.schema == tagged.SCHEMA
    assert table.to_pylist() == [
        {"row_id": 0, "split": "train", "tokens": ["EU", "rejects"], "tags": ["B-ORG", "O"]},
        {"row_id": 1, "split": "train", "tokens": ["New York", "été"], "tags": ["B-LOC", "O"]},
        {"row_id": 2, "split": "train", "tokens": ["#", "1"], "tags": ["O", "O"]},
    ]
    file = {"file": "train.conll", "rows": 3, "tokens": 6}
    assert records == [{"path": "train.conll", "files": [file], "scheme": "IOB2"}]


@pytest.mark.parametrize(
    ("iob1", "iob2"),
    [
        ("I-PER I-PER O", "B-PER I-PER O"),
        ("O I-PER B-PER I-PER", "O B-PER B-PER I-PER"),
        # I-X after B-Y begins an entity.
        ("I-PER B-PER I-LOC I-LOC", "B-PER B-PER B-LOC I-LOC"),
        ("I-PER I-LOC O I-LOC", "B-PER B-LOC O B-LOC"),
    ],
)
def test_iob1_becomes_iob2(tmp_path: Path, iob1: str, iob2: str) -> None:
    table, records = _read(_tags(tmp_path, iob1))
    assert table.column("tags").to_pylist() == [iob2.split()]
    assert records[0]["scheme"] == "IOB1"
    # What is IOB2 already stays as it is.
    assert _read(_tags(tmp_path, iob2))[0].column("tags").to_pylist() == [iob2.split()]


def test_the_scheme_is_told_from_all_files_together(tmp_path: Path) -> None:
    undecided, told = _tags(tmp_path, "O O", "train.conll"), _tags(tmp_path, "O I-PER", "valid.conll")
    table, records = _read(undecided, told)
    assert [one["scheme"] for one in records] == ["IOB1", "IOB1"]
    assert table.column("tags").to_pylist() == [["O", "O"], ["O", "B-PER"]]
    assert table.column("split").to_pylist() == ["train", "valid"]


@pytest.mark.parametrize("tags", ["O B-PER I-LOC", "O B-PER O I-PER", "B-PER B-LOC I-PER"])
def test_iob_that_does_not_follow(tmp_path: Path, tags: str) -> None:
    with pytest.raises(FormatError, match="the tags follow neither IOB1 nor IOB2"):
        _read(_tags(tmp_path, tags))


def test_iob_that_does_not_follow_names_both_places(tmp_path: Path) -> None:
    train = _file(tmp_path, "w O", "w B-PER", "", "w O", "w B-PER")
    valid = _file(tmp_path, "", "w I-LOC", name="valid.conll")
    told = (
        r"neither IOB1 nor IOB2: .*valid\.conll, line 2: I-LOC begins a sentence, which IOB1 alone allows, and "
        r".*train\.conll, line 2: B-PER follows O, which IOB2 alone allows"
    )
    with pytest.raises(FormatError, match=told):
        _read(train, valid)


@pytest.mark.parametrize("line", ["lonely", "B-PER", "\tO"])
def test_line_with_too_few_columns(tmp_path: Path, line: str) -> None:
    path = _file(tmp_path, "EU B-ORG", line, "x O")
    with pytest.raises(FormatError, match=rf"train\.conll, line 2: too few columns, found '{line.strip()}'; expected"):
        _read(path)


@pytest.mark.parametrize("tag", ["NNP", "S-PER", "B-", "b-PER", "BPER"])
def test_tag_of_no_known_form(tmp_path: Path, tag: str) -> None:
    path = _file(tmp_path, "EU B-ORG", f"rejects VBZ {tag}")
    with pytest.raises(FormatError, match=rf"line 2: found the tag '{tag}' of 'rejects', expected O, B-TYPE or I-TYPE"):
        _read(path)


def test_file_without_tokens(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"train\.conll has no tokens"):
        _read(_file(tmp_path, "", "-DOCSTART- O", ""))
