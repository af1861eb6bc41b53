"""Files that unpack to gigabytes, or have them, are rejected or scored in bounded memory and time."""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles
from hostile import gzip_bomb, lists, parquet, parquet_of_footer, repeated, scored_elsewhere

GB = 1 << 30
MOST_MB = 1000.0
"""Memory of the worker, which `memory_mb` limits to 768 MiB, 110 MiB of libraries' code, and its parent."""


@dataclass(frozen=True)
class Bomb:
    """A file, what scores it, and the error; none for a file that is scored after all."""

    name: str
    bundle: Callable[[Path], Path]
    content: Callable[[], bytes]
    error: str = ""


def zeros(rows):
    return lists([784] * rows, pa.array(np.zeros(784 * rows, np.uint8)))


def many_values():
    """One row of 40 million pixels that do not compress, alone in its row group."""
    return lists([40_000_000], pa.array(np.random.default_rng(0).integers(0, 256, 40_000_000).astype(np.uint8)))


def common_prefix():
    """Texts of 200 kB, each of which repeats the one before it but for the last letter: 26 bytes each."""
    texts = pa.array(["a" * 200_000 + chr(97 + row % 26) for row in range(2000)])
    return parquet({"text": texts}, use_dictionary=False, column_encoding={"text": "DELTA_BYTE_ARRAY"})


def prices():
    dates = pa.array(np.arange(5000), pa.int32()).cast(pa.date32())
    return parquet({"ticker": repeated("A" * (2 << 20), 5000), "date": dates, "close": pa.array(np.ones(5000))})


digits, texts = tiny_bundles.digits, tiny_bundles.classifier
UNPACKED, MEMORY = "FormatError: .* is not unpacked", "DataError: .* needs more than memory_mb, 768 MiB"
HEADER = b",".join(b"p%d" % pixel for pixel in range(784)) + b"\n"
IDX = struct.pack(">4I", 0x803, 4 * GB // 784, 28, 28)
BOMBS = [
    Bomb("line.csv.gz", digits, lambda: gzip_bomb(b"0", 4 * GB), UNPACKED),
    Bomb("rows.csv.gz", digits, lambda: gzip_bomb(b"0," * 783 + b"0\n", 4 * GB), UNPACKED),
    Bomb("cell.csv.gz", digits, lambda: gzip_bomb(b"0", 4 * GB, HEADER), "a row takes more than 1 MB|is not unpacked"),
    Bomb("images.gz", digits, lambda: gzip_bomb(b"\0", 4 * GB, IDX), UNPACKED),
    Bomb("line.txt.gz", texts, lambda: gzip_bomb(b"a", 4 * GB), UNPACKED),
    Bomb("rows.jsonl.gz", texts, lambda: gzip_bomb(b'{"text": "a"}\n', 4 * GB), UNPACKED),
    Bomb("cell.jsonl.gz", texts, lambda: gzip_bomb(b"a", 4 * GB, b'{"text": "'), UNPACKED),
    Bomb("quotes.csv.gz", texts, lambda: gzip_bomb(b"a\n", 4 * GB, b'text,x\n"'), UNPACKED),
    Bomb("line.csv.gz", tiny_bundles.last_price, lambda: gzip_bomb(b"0", 4 * GB), UNPACKED),
    Bomb("page.parquet", texts, lambda: parquet({"text": pa.array(["a" * (300 << 20)])}, use_dictionary=False), MEMORY),
    Bomb("dictionary.parquet", texts, lambda: parquet({"text": repeated("a" * (2 << 20), 2000)}), MEMORY),
    Bomb(
        "tokens.parquet",
        tiny_bundles.tagger,
        lambda: parquet({"tokens": lists([10_000, 10_000], repeated("a" * (1 << 20), 20_000))}),
        MEMORY,
    ),
    Bomb("ticker.parquet", tiny_bundles.last_price, prices, MEMORY),
    Bomb("images.parquet", digits, lambda: parquet({"pixels": zeros(120_000)})),
    Bomb("long.parquet", digits, lambda: parquet({"pixels": many_values()}), MEMORY),
    Bomb("footer.parquet", texts, lambda: parquet_of_footer(690_000), "DataError"),
    Bomb("large-footer.parquet", texts, lambda: parquet_of_footer(900_000), "DataError"),
    Bomb("prefix.parquet", texts, common_prefix, MEMORY),
    Bomb("objects.jsonl", texts, lambda: (b'{"text": "a", "x": [' + b"{}," * 5_000_000 + b"0]}\n") * 2, MEMORY),
    Bomb("cells.csv", texts, lambda: b"text,x\n" + (b"a " * 5_000_000 + b",1\n") * 8 + b"a b,2\n"),
]


@pytest.mark.slow
@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: f"{bomb.bundle.__name__}-{bomb.name}")
def test_a_bomb_takes_little_memory(tmp_path, bomb):
    source = tmp_path / bomb.name
    source.write_bytes(bomb.content())
    outcome = scored_elsewhere(bomb.bundle(tmp_path / "bundle"), source, tmp_path / "out")
    if bomb.error:
        assert outcome.error is not None
        assert re.search(bomb.error, outcome.error), outcome.error
        assert not list((tmp_path / "out").glob("*"))
    else:
        assert outcome.rows > 0
    assert outcome.peak_mb < MOST_MB


ROWS, GROUP = 2_700_000, 100_000


@pytest.mark.slow
def test_a_file_of_two_gigabytes(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (GROUP, 784)).astype(np.uint8)
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(784), GROUP, [None, pa.py_buffer(images)])
    source = tmp_path / "a.parquet"
    options = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    with pq.ParquetWriter(source, pa.schema([("pixels", column.type)]), **options) as writer:
        for _ in range(ROWS // GROUP):
            writer.write_table(pa.table([column], ["pixels"]), row_group_size=GROUP)
    assert source.stat().st_size > 2_000_000_000
    outcome = scored_elsewhere(tiny_bundles.digits(tmp_path / "bundle"), source, tmp_path / "out", seconds=1200)
    source.unlink()
    assert (outcome.rows, outcome.error) == (ROWS, None)
    assert outcome.peak_mb < 500
