"""CoNLL files as a table."""

from pathlib import Path

import pytest

from unroll.config.sources import PathSource
from unroll.domains.tagged.config import TaggedDataset
from unroll.domains.tagged.dataset import SCHEMA, read_dataset
from unroll.errors import FormatError
from unroll.sources.fetch import Fetched
from unroll.sources.ingested import Ingested

SPLITS = ("train", "valid", "test")


def _read(folder: Path, *files: str) -> Ingested:
    """The rows of train.conll, valid.conll, … with these contents."""
    fetched = []
    for split, content in zip(SPLITS, files, strict=False):
        path = folder / f"{split}.conll"
        path.write_text(content, encoding="utf-8")
        fetched.append(Fetched(path, {"path": path.name}, split, False))
    sources = tuple(PathSource(kind="path", path="unused", split=split) for split in SPLITS)
    return read_dataset(fetched, TaggedDataset(domain="tagged", sources=sources))


def _tags(tags: str) -> str:
    """A sentence with these tags."""
    return "\n".join(f"w{place} {tag}" for place, tag in enumerate(tags.split()))


def test_token_first_tag_last(tmp_path: Path) -> None:
    ingested = _read(
        tmp_path,
        "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\n\nNew York\tNNP\tB-LOC\n"
        "e\u0301te\u0301\tNN\tO\n-DOCSTART-\n# id = 7\n# O\n1 O",
    )
    assert ingested.table.schema == SCHEMA
    assert ingested.table.to_pylist() == [
        {"row_id": 0, "split": "train", "tokens": ["EU", "rejects"], "tags": ["B-ORG", "O"]},
        {"row_id": 1, "split": "train", "tokens": ["New York", "été"], "tags": ["B-LOC", "O"]},
        {"row_id": 2, "split": "train", "tokens": ["#", "1"], "tags": ["O", "O"]},
    ]
    file = {"file": "train.conll", "rows": 3, "tokens": 6}
    assert ingested.sources == [{"path": "train.conll", "files": [file], "scheme": "IOB2"}]


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
def test_iob1_becomes_iob2_and_iob2_stays(tmp_path: Path, iob1: str, iob2: str) -> None:
    for scheme, tags in (("IOB1", iob1), ("IOB2", iob2)):
        ingested = _read(tmp_path, _tags(tags))
        assert ingested.table.column("tags").to_pylist() == [iob2.split()]
        assert ingested.sources[0]["scheme"] == scheme


def test_scheme_is_inferred_from_all_files_together(tmp_path: Path) -> None:
    ingested = _read(tmp_path, _tags("O O"), _tags("O I-PER"))
    assert [one["scheme"] for one in ingested.sources] == ["IOB1", "IOB1"]
    assert ingested.table.column("tags").to_pylist() == [["O", "O"], ["O", "B-PER"]]
    assert ingested.table.column("split").to_pylist() == ["train", "valid"]


@pytest.mark.parametrize("tags", ["O B-PER I-LOC", "O B-PER O I-PER", "B-PER B-LOC I-PER"])
def test_tags_of_neither_scheme(tmp_path: Path, tags: str) -> None:
    with pytest.raises(FormatError, match="neither IOB1 nor IOB2"):
        _read(tmp_path, _tags(tags))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("EU B-ORG\nlonely\nx O", "line 2: too few columns, found 'lonely'"),
        ("EU B-ORG\nrejects VBZ NNP", "line 2: found the tag 'NNP' of 'rejects'"),
        ("EU B-ORG\nrejects VBZ B-", "line 2: found the tag 'B-'"),
        ("\n-DOCSTART- O\n", "has no tokens"),
    ],
)
def test_lines_that_cannot_be_read(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(FormatError, match=rf"train\.conll.*{message}"):
        _read(tmp_path, content)
