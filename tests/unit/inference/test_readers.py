"""Forms of files, and the batches that they are cut into."""

import struct
from pathlib import Path

import pyarrow as pa
import pytest
import tiny_bundles

from unroll.errors import FormatError
from unroll.inference.batches import open_file, rebatched
from unroll.inference.bundle import load_bundle
from unroll.inference.forms import form_of


@pytest.mark.parametrize(
    ("name", "content", "form"),
    [
        ("digits", b"PAR1", "parquet"),
        ("images.csv", struct.pack(">I", 0x803), "idx"),
        ("a.CSV", b"a", "csv"),
        ("a.ndjson.gz", b"a", "jsonl"),
        ("a.tsv", b"a", "tsv"),
    ],
)
def test_the_form_of_a_file(tmp_path: Path, name: str, content: bytes, form: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert form_of(tmp_path / name) == form


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", b"%PDF-1.7", "is not Parquet: it starts with b'%PDF'"),
        ("a.pdf", b"%PDF-1.7", "neither Parquet nor IDX"),
        ("a.csv", b"", "is empty"),
        ("a.gz", b"\x1f\x8b\x08\x00", "gzip"),
    ],
)
def test_files_of_no_known_form(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=message):
        form_of(tmp_path / name)
    with pytest.raises(FormatError, match="nothing"):
        form_of(tmp_path / "nothing")


def test_a_form_that_the_model_does_not_read(tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundles.last_price(tmp_path / "bundle"))
    (tmp_path / "images").write_bytes(struct.pack(">I", 0x803))
    with pytest.raises(FormatError, match="images is IDX; tiny-price reads prices from Parquet or CSV"):
        open_file(tmp_path / "images", bundle, 10)


def test_rebatching_cuts_and_joins_without_losing_a_row() -> None:
    batches = [pa.record_batch({"x": list(range(a, b))}) for a, b in [(0, 5), (5, 5), (5, 9), (9, 10), (10, 31)]]
    for rows in (1, 3, 4, 100):
        out = list(rebatched(iter(batches), rows))
        assert [x for batch in out for x in batch["x"].to_pylist()] == list(range(31))
        assert all(batch.num_rows == rows for batch in out[:-1])
        assert 0 < out[-1].num_rows <= rows
    # Batches of 8 bytes a row end at 40 bytes and more.
    assert [len(batch) for batch in rebatched(iter(batches), 100, size=39)] == [5, 5, 21]
