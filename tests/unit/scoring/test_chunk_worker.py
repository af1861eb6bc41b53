"""A worker refuses what it would score otherwise than the job, and the same order gives the same bytes."""

from dataclasses import replace

import pytest
import tiny_bundles
from inboxes import Inbox

from unroll.errors import ParameterError, UnrollError
from unroll.files import digest_of
from unroll.scoring.chunk_worker import STAGING, ChunkWorker, JobOrder, versions
from unroll.scoring.engine import limits_of
from unroll.scoring.storage import Storage


@pytest.fixture
def order(tmp_path):
    inbox = Inbox(tmp_path)
    tiny_bundles.digits(tmp_path / "model/bundle")
    inbox.put("a.parquet", 5, bad=(2,))
    digest = digest_of(tmp_path / "model")
    (tmp_path / "predictions" / STAGING).mkdir(parents=True)
    (tmp_path / "model").rename(tmp_path / "predictions" / STAGING / digest)
    limits = limits_of(inbox.scoring(memory_mb=400))
    return JobOrder(inbox.address("inbox"), inbox.address("predictions"), digest, versions(), limits)


def test_the_same_order_gives_the_same_bytes_under_the_same_name(tmp_path, order):
    worker = ChunkWorker(order, tmp_path / "own")
    (file,) = Storage(order.inbox).files()
    _, chunks = worker.examine(file)
    assert chunks == []
    staged = [worker.score(file, None, {"source": "a.parquet"}) for _ in range(2)]
    worker.close()
    assert staged[0] == staged[1]
    assert staged[0].found["rows_scored"] == 4
    assert sorted(path.name for path in (tmp_path / "predictions" / STAGING).glob("*.parquet")) == sorted(
        name.removeprefix(f"{STAGING}/") for name in staged[0].sha256
    )
    assert not (tmp_path / "own").exists()


def test_another_version_or_model_is_refused(tmp_path, order):
    with pytest.raises(ParameterError, match=r"numpy .* \(the job: 0\.1\)"):
        ChunkWorker(replace(order, versions={**order.versions, "numpy": "0.1"}), tmp_path / "own")
    (tmp_path / "predictions" / STAGING / order.bundle / "bundle/card.json").write_text("{}")
    with pytest.raises(UnrollError, match="does not hold"):
        ChunkWorker(order, tmp_path / "own")
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize("place", ["output", "inbox"])
def test_a_folder_that_is_not_shared_is_named(tmp_path, order, place):
    with pytest.raises(ParameterError, match=r"elsewhere.* is missing or empty on .* not shared"):
        ChunkWorker(replace(order, **{place: str(tmp_path / "elsewhere")}), tmp_path / "own")
