from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from unroll.config.params import DATASET
from unroll.domains.articles import dataset as articles
from unroll.domains.articles.config import ArticleDataset
from unroll.errors import FormatError
from unroll.sources.fetch import Fetched


def _source(split: str | None) -> dict[str, Any]:
    return {"kind": "path", "path": f"{split}.txt"} | ({"split": split} if split else {})


def _section(*splits: str | None, kind: str = "articles") -> Any:
    return TypeAdapter(DATASET).validate_python({"domain": kind, "sources": tuple(_source(one) for one in splits)})


SECTION: ArticleDataset = _section("train", "valid", "test")


def test_a_row_is_a_line_that_is_not_blank(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes(b" = Heading = \r\n \r\nOne e\xcc\x81 . \r\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.txt").write_text("four")
    (tmp_path / "more" / "a.txt").write_text("two\nthree\n")
    fetched = [Fetched(tmp_path / "train.txt", {}, "train", False), Fetched(tmp_path / "more", {}, "test", False)]
    ingested = articles.read_dataset(fetched, SECTION)
    table, records = ingested.table, ingested.sources
    assert table.schema == articles.SCHEMA
    assert table.to_pylist() == [
        {"row_id": 0, "split": "train", "text": "= Heading ="},
        {"row_id": 1, "split": "train", "text": "One é ."},
        {"row_id": 2, "split": "test", "text": "two"},
        {"row_id": 3, "split": "test", "text": "three"},
        {"row_id": 4, "split": "test", "text": "four"},
    ]
    assert records[0] == {"files": [{"file": "train.txt", "rows": 2, "blank_lines": 1}]}
    assert [one["file"] for one in records[1]["files"]] == ["a.txt", "b.txt"]


@pytest.mark.parametrize("content", ["", "\n \n\u200b\n"])
def test_file_without_text(tmp_path: Path, content: str) -> None:
    (tmp_path / "train.txt").write_text(content)
    with pytest.raises(FormatError, match=r"train\.txt has no text: \d lines, all blank"):
        articles.read_dataset([Fetched(tmp_path / "train.txt", {}, "train", False)], SECTION)


@pytest.mark.parametrize("kind", ["articles", "tagged"])
@pytest.mark.parametrize(
    ("splits", "told"),
    [
        (("train", "test"), "none has: valid"),
        (("train", "valid", "test", None), "every source needs its split, and each of train, valid and test a source"),
        ((None,), "none has: train, valid, test"),
    ],
)
def test_every_split_needs_a_source(kind: str, splits: tuple[str | None, ...], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        _section(*splits, kind=kind)
    assert _section("train", "train", "valid", "test", kind=kind).kind == kind
