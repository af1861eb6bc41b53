"""Plain text files as a table."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from unroll.config.sources import PathSource
from unroll.domains.articles.config import ArticleDataset
from unroll.domains.articles.dataset import SCHEMA, read_dataset
from unroll.errors import FormatError
from unroll.sources.fetch import Fetched

SPLITS = ("train", "valid", "test")


def _section(*splits: str | None) -> ArticleDataset:
    sources = tuple(PathSource(kind="path", path="unused", split=split) for split in splits)
    return ArticleDataset(domain="articles", sources=sources)


def test_a_row_is_a_line_that_is_not_blank(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes(b" = Heading = \r\n \r\nOne e\xcc\x81 . \r\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.txt").write_text("four")
    (tmp_path / "more" / "a.txt").write_text("two\nthree\n")
    fetched = [Fetched(tmp_path / "train.txt", {}, "train", False), Fetched(tmp_path / "more", {}, "test", False)]
    ingested = read_dataset(fetched, _section(*SPLITS))
    assert ingested.table.schema == SCHEMA
    assert ingested.table.column("row_id").to_pylist() == [0, 1, 2, 3, 4]
    assert ingested.table.column("split").to_pylist() == ["train"] * 2 + ["test"] * 3
    assert ingested.table.column("text").to_pylist() == ["= Heading =", "One é .", "two", "three", "four"]
    assert ingested.sources[0] == {"files": [{"file": "train.txt", "rows": 2, "blank_lines": 1}]}
    assert [one["file"] for one in ingested.sources[1]["files"]] == ["a.txt", "b.txt"]


@pytest.mark.parametrize("content", ["", "\n \n\u200b\n"])
def test_file_without_text(tmp_path: Path, content: str) -> None:
    (tmp_path / "train.txt").write_text(content)
    with pytest.raises(FormatError, match=r"train\.txt has no text"):
        read_dataset([Fetched(tmp_path / "train.txt", {}, "train", False)], _section(*SPLITS))


@pytest.mark.parametrize("splits", [("train", "test"), ("train", "valid", "test", None), (None,)])
def test_every_split_needs_a_source(splits: tuple[str | None, ...]) -> None:
    with pytest.raises(ValidationError, match="needs a split"):
        _section(*splits)
