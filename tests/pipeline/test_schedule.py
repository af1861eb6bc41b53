"""The scoring schedule of prefect.yaml, on a real server with a real worker: the clock starts the run, nobody else."""

import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles
import yaml
from flow_processes import ROOT, Server, process

pytestmark = pytest.mark.slow

ROWS = 20


@pytest.fixture
def workplace(scoring_place: Path) -> Path:
    """With deployments, a bundle, and files to score."""
    place = scoring_place
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    for deployment in deployments["deployments"]:
        # The test waits a minute, not a quarter of an hour.
        deployment["schedules"][0]["cron"] = "* * * * *"
    (place / "prefect.yaml").write_text(yaml.safe_dump(deployments, sort_keys=False))
    tiny_bundles.digits(place / "models/tiny-digits/bundle")
    inbox = place / "data/inbox"
    table = tiny_bundles.digits_table(tiny_bundles.images(ROWS), row_id=pa.array(range(100, 100 + ROWS)))
    pq.write_table(table, inbox / "monday.parquet")
    (inbox / "broken.parquet").write_text("no Parquet at all")
    return place


def test_schedule_scores_the_inbox(workplace: Path, empty_server: Server) -> None:
    environment = empty_server.environment()

    def prefect(*arguments: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            cwd=workplace,
            env=environment,
            check=True,
            capture_output=True,
            timeout=300,
        )

    prefect("work-pool", "create", "unroll", "--type", "process")
    prefect("deploy", "--name", "score")
    worker = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "unroll"]
    log = workplace / "worker.log"
    # Other tests' runs may be on the server, too.
    ended = {
        "state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}},
        "start_time": {"after_": datetime.now(UTC).isoformat()},
    }
    with process(worker, log, cwd=workplace.parent, env=environment) as child:
        deadline = time.monotonic() + 600
        done: list[dict[str, object]] = []
        while not done:
            assert child.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(1)
            done = empty_server.ask("flow_runs", flow_runs=ended, flows={"name": {"any_": ["score"]}})

    assert done[0]["state_type"] == "COMPLETED", log.read_text()
    assert done[0]["auto_scheduled"] is True
    outputs = list((workplace / "data/predictions").glob("scored_on=*/monday-*.parquet"))
    assert len(outputs) == 1
    scored = pq.read_table(outputs[0])
    assert scored["row_id"].to_pylist() == list(range(100, 100 + ROWS))
    means = tiny_bundles.images(ROWS).mean(axis=1)
    assert scored["prediction"].to_pylist() == [round(mean / 25) for mean in means]
    assert set(scored["model_version"].to_pylist()) == {f"tiny-digits@{_version(workplace)}"}
    assert list((workplace / "data/quarantine").glob("scored_on=*/broken.parquet.reason.json"))


def _version(workplace: Path) -> str:
    (sums,) = workplace.glob("models/*/bundle/SHA256SUMS")
    (line,) = [line for line in sums.read_text().splitlines() if line.endswith("model.onnx")]
    return line[:12]
