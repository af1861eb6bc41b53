"""IDX files, plain and gzipped, sound and damaged."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from unroll.domains.digits import idx
from unroll.errors import FormatError

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8)
LABELS = np.arange(10, dtype=np.uint8)
BOTH = pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])


def _bytes(values: np.ndarray, magic: int | None = None, count: int | None = None) -> bytes:
    head = [0x800 + values.ndim if magic is None else magic, len(values) if count is None else count, *values.shape[1:]]
    return np.array(head, ">u4").tobytes() + values.tobytes()


def _write(folder: Path, content: bytes, packed: bool) -> Path:
    path = folder / "file"
    path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
    return path


@BOTH
@pytest.mark.parametrize(("rows", "lengths"), [(4, [4, 4, 2]), (5, [5, 5]), (100, [10])])
def test_images_come_in_batches(tmp_path: Path, packed: bool, rows: int, lengths: list[int]) -> None:
    parts = list(idx.iter_idx_images(_write(tmp_path, _bytes(IMAGES), packed), rows))
    assert [len(part) for part in parts] == lengths
    assert parts[0].dtype == np.uint8
    np.testing.assert_array_equal(np.concatenate(parts), IMAGES)


@BOTH
def test_labels(tmp_path: Path, packed: bool) -> None:
    labels = idx.read_idx_labels(_write(tmp_path, _bytes(LABELS), packed))
    np.testing.assert_array_equal(labels, LABELS)
    assert labels.dtype == np.uint8


@BOTH
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_bytes(LABELS), r"the magic number is 0x00000801 \(labels\), expected 0x00000803 \(images\)"),
        (_bytes(IMAGES, count=11), "states 11 images"),
        (_bytes(IMAGES)[:-1], "states 10 images"),
        (_bytes(IMAGES)[:10], "ends within the sizes"),
        (_bytes(IMAGES[:, :27]), "images of 27 × 28 pixels, expected 28 × 28"),
        (b"", "ends within|is empty"),
    ],
)
def test_files_that_do_not_fit(tmp_path: Path, packed: bool, content: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        list(idx.iter_idx_images(_write(tmp_path, content, packed), 4))


@pytest.mark.parametrize("kept", [5, 2000, -4, None])
def test_damaged_gzip(tmp_path: Path, kept: int | None) -> None:
    path = _write(tmp_path, _bytes(IMAGES), packed=True)
    content = bytearray(path.read_bytes()[:kept])
    if kept is None:
        content[3000] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(FormatError, match="file is a truncated or damaged gzip file"):
        list(idx.iter_idx_images(path, 10))
