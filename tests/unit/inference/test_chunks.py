"""A file that is scored chunk by chunk gives the rows of one that is scored whole, whatever is read."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles

from unroll.errors import DataError
from unroll.inference.bundle import load_bundle
from unroll.inference.file_scorer import FileScorer
from unroll.inference.scored import combined, join
from unroll.inference.scorer import Scorer
from unroll.inference.stream import divide, score_stream
from unroll.inference.writing import read_metadata
from unroll.scoring.storage import Storage
from unroll.sources.parquet import chunks_of

ROWS = 40


def digits_table():
    return tiny_bundles.digits_table(tiny_bundles.images(ROWS), row_id=pa.array(map(str, range(ROWS))))


def text_table(column):
    words = [" ".join(tiny_bundles.WORDS[: 1 + row % 5]) for row in range(ROWS)]
    words[33] = None
    return pa.table({"id": range(100, 100 + ROWS), column: words})


def frames_table():
    frames = [[[float(row % 3), 0.5]] * (1 + row % 4) for row in range(ROWS)]
    frames[3] = frames[25] = []
    return pa.table({"frames": frames})


CASES = {
    "digits": (tiny_bundles.digits, digits_table),
    "texts": (tiny_bundles.classifier, lambda: text_table("text")),
    # Whose random numbers depend on the number of the row in the file.
    "generated": (tiny_bundles.writer, lambda: text_table("prompt")),
    "recordings": (tiny_bundles.recordings, frames_table),
}


def outcome(about, places):
    """What can be seen of scored files: metadata, rows, and counts."""
    kept = [place for place in places if place.exists()]
    return (
        [read_metadata(pq.read_schema(place)) for place in kept],
        [pq.read_table(one).to_pylist() for one in kept],
        about,
    )


@pytest.mark.parametrize("case", CASES)
def test_chunks_give_the_rows_of_the_whole_file(tmp_path, case):
    bundle, table = CASES[case]
    scorer, source = Scorer(load_bundle(bundle(tmp_path / "b")), 4), tmp_path / "s.parquet"
    pq.write_table(table(), source, row_group_size=7)

    def score(chunk, name):
        places = tmp_path / f"{name}.parquet", tmp_path / f"{name}.quarantine.parquet"
        about = {"metadata": {"source": "s"}, "chunk": chunk}
        return score_stream(scorer, 2, source, places[0], quarantine=places[1], **about), places

    whole, places = score(None, "whole")
    chunks = divide(source, scorer.bundle, 10)
    assert [chunk.first_row for chunk in chunks] == [0, 14, 28]
    found = [score(chunk, str(chunk.first_row)) for chunk in chunks]
    total = combined(source, [one[0] for one in found], 1.0)
    joined = tmp_path / "joined.parquet", tmp_path / "joined.quarantine.parquet"
    for side, target in enumerate(joined):
        if parts := [one[1][side] for one in found if one[1][side].exists()]:
            join(parts, target, total)
    assert outcome(total, joined) == outcome(combined(source, [whole], 1.0), places)
    assert total["rows_in"] == ROWS


def test_a_file_of_several_chunks_is_one_result(tmp_path):
    pq.write_table(frames_table(), tmp_path / "s.parquet", row_group_size=7)
    places = tmp_path / "out/p.parquet", tmp_path / "out/q.parquet"
    limits = {"threads": 1, "batch_rows": 4, "memory_mb": 400, "chunk_rows": 10}
    with FileScorer(tiny_bundles.recordings(tmp_path / "b"), **limits) as scorer:
        assert len(scorer.divide(tmp_path / "s.parquet")) == 3
        done = scorer.score_file(tmp_path / "s.parquet", places[0], quarantine=places[1], metadata={})
        with pytest.raises(DataError, match="2 of 40 rows"):
            scorer.score_file(tmp_path / "s.parquet", places[0], quarantine=places[1], metadata={}, max_bad_share=0.01)
    assert (done.rows_in, done.rows_scored, done.rows_quarantined) == (40, 38, 2)
    assert [pq.read_metadata(place).num_rows for place in places] == [38, 2]
    assert [read_metadata(pq.read_schema(place))["quarantined"] for place in places] == [2, 2]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["p.parquet", "q.parquet"]


def prices(folder):
    return tiny_bundles.last_price(folder)


@pytest.mark.parametrize(
    ("bundle", "table"),
    [
        (tiny_bundles.digits, tiny_bundles.digits_table(tiny_bundles.images(ROWS), row_id=np.arange(ROWS) / 2)),
        (prices, pa.table({"date": pa.array([0] * ROWS, pa.date32()), "close": [1.0] * ROWS})),
        (tiny_bundles.digits, digits_table().select([])),
    ],
    ids=["ids that may be integers", "prices", "no columns"],
)
def test_what_depends_on_other_rows_is_not_divided(tmp_path, bundle, table):
    pq.write_table(table, tmp_path / "s.parquet", row_group_size=7)
    assert len(chunks_of(tmp_path / "s.parquet", 10)) == (3 if table.column_names else 0)
    assert divide(tmp_path / "s.parquet", load_bundle(bundle(tmp_path / "b")), 10) == []


def test_only_the_bytes_of_a_chunk_are_fetched(tmp_path):
    source = tmp_path / "s.parquet"
    pq.write_table(digits_table(), source, row_group_size=7)
    store = Storage("memory://test-chunks")
    store.fs.pipe_file(f"{store.root}/a.parquet", source.read_bytes())
    (file,) = store.files()
    chunk = chunks_of(source, 10)[1]
    copy = store.fetch_ranges(file, chunk.ranges, tmp_path)
    _, (start, end), (footer, size) = chunk.ranges
    content, whole = copy.read_bytes(), source.read_bytes()
    assert len(content) == size == len(whole)
    assert (content[start:end], content[footer:]) == (whole[start:end], whole[footer:])
    assert not any(content[4:start] + content[end:footer])
    with pq.ParquetFile(copy) as file:
        assert file.read_row_groups([2, 3]) == digits_table().slice(14, 14)
