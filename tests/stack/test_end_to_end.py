"""A week of a team, on real servers: trained, promoted, scored by the clock, quarantined, drifted, rolled back; seen.

The story is told once; each test looks at a part of it.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
import s3fs
import stack_workplace
from flow_processes import call, wait_for
from stack_browser import chromium, keep
from stack_processes import Stack, new_stack
from stack_workplace import TASK

pytestmark = pytest.mark.slow

ROWS = 400
BAD = {7: "missing", 8: "blank"}
"""Rows of Tuesday's file that cannot be scored."""


@dataclass
class Story:
    """What happened, and where to look at it."""

    stack: Stack
    place: Path
    training: dict[str, Any] = field(default_factory=dict)
    """Prefect's flow run."""
    scorings: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Day → the flow run that scored its file."""
    told: dict[str, str] = field(default_factory=dict)
    """Command → what it said."""

    def __post_init__(self) -> None:
        self.environment = os.environ | self.stack.environment()
        self.api = self.environment["PREFECT_API_URL"]
        credentials = self.stack.secrets()[0]
        self.store = s3fs.S3FileSystem(
            key="unroll",
            secret=credentials,
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            use_listings_cache=False,
        )

    def unroll(self, *words: str) -> str:
        said = stack_workplace.run(self.place, self.environment, "unroll", *words)
        self.told[" ".join(words)] = said
        return said

    def ask(self, what: str, **question: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = call(f"{self.api}/{what}/filter", question)
        return found

    def wait_for(self, what: Callable[[], Any], seconds: float) -> Any:
        return wait_for(what, seconds, self.log)

    def log(self) -> str:
        """What the worker said last."""
        return (self.stack.folder / "logs/worker.log").read_text()[-5000:]

    def train(self) -> None:
        """Starts the deployment, as `prefect deployment run train/train` does, and waits for its end."""
        (deployment,) = self.ask("deployments", deployments={"name": {"any_": ["train"]}})
        run = call(f"{self.api}/deployments/{deployment['id']}/create_flow_run", {})
        ended = {"id": {"any_": [run["id"]]}, "state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}}
        (self.training,) = self.wait_for(lambda: self.ask("flow_runs", flow_runs=ended), 1800)
        assert self.training["state_type"] == "COMPLETED", f"{self.training['state']['message']}\n{self.log()}"

    def drop(self, name: str, content: bytes) -> None:
        """Puts a file into the inbox."""
        self.store.pipe(f"unroll/inbox/{name}", content)

    def scored(self, day: str) -> str:
        """Waits until a scheduled run has scored a day's file; gives the place of its predictions."""

        def places() -> list[str]:
            found: list[str] = self.store.glob(f"unroll/predictions/**/{day}-*.parquet")
            return found

        (place,) = self.wait_for(places, 600)

        def run() -> dict[str, Any] | None:
            # The run whose table of files names it.
            for table in self.ask("artifacts", artifacts={"key": {"any_": ["scored-files"]}}):
                if f"{day}.parquet" in str(table["data"]):
                    (flow_run,) = self.ask("flow_runs", flow_runs={"id": {"any_": [table["flow_run_id"]]}})
                    return flow_run if flow_run["state_type"] == "COMPLETED" else None
            return None

        self.scorings[day] = self.wait_for(run, 300)
        return place

    def predictions(self, day: str, folder: str = "predictions") -> pa.Table:
        (place,) = self.store.glob(f"unroll/{folder}/**/{day}-*.parquet")
        return pq.read_table(place, filesystem=self.store)


@pytest.fixture(scope="module")
def story(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The week."""
    place = stack_workplace.make(tmp_path_factory.mktemp("team") / "workplace", tiny)
    with new_stack() as stack:
        stack.start("--workplace", str(place), code=place / "src")
        story = Story(stack, place)
        story.train()
        story.unroll("models", "list")
        images = np.array(tiny.digits(train=0, test=ROWS, seed=5)["pixels"].to_pylist(), np.uint8)
        story.drop("broken.parquet", b"no Parquet at all")
        story.drop("monday.parquet", digits(images))
        story.drop("tuesday.parquet", digits(images, bad=BAD))
        story.scored("monday")
        story.scored("tuesday")
        # Another model; and the scanner was set to negative.
        story.unroll("models", "promote", TASK, "challenger")
        story.drop("wednesday.parquet", digits(255 - images))
        story.scored("wednesday")
        story.unroll("models", "rollback", TASK)
        story.drop("friday.parquet", digits(images[1:]))
        story.scored("friday")
        yield story


def digits(images: "np.ndarray[Any, Any]", bad: dict[int, str] | None = None) -> bytes:
    """A Parquet file of images, uint8 [row, 784]."""
    lists: list[list[int] | None] = images.tolist()
    for row, how in (bad or {}).items():
        lists[row] = None if how == "missing" else [0] * 784
    sink = pa.BufferOutputStream()
    pixels = pa.array(lists, pa.list_(pa.uint8()))
    pq.write_table(pa.table({"row_id": pa.array(range(len(lists)), pa.int64()), "pixels": pixels}), sink)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def test_training_promotes_the_better_model(story: Story) -> None:
    listed = story.told["models list"]
    (champion,) = [line for line in listed.splitlines() if line.endswith("champion")]
    (challenger,) = [line for line in listed.splitlines() if line.endswith("challenger")]
    assert {line.split("@")[0].split()[-1] for line in (champion, challenger)} == {"large", "small"}
    keys = {one["key"] for one in story.ask("artifacts", flow_runs={"id": {"any_": [story.training["id"]]}})}
    assert {"leaderboard", "promotion"} <= keys


def test_stages_speak_in_the_flows_log(story: Story) -> None:
    logs = story.ask("logs", logs={"flow_run_id": {"any_": [story.training["id"]]}}, limit=200)
    assert [one for one in logs if "epoch 8/8" in one["message"]]


def test_the_clock_scores_what_was_dropped(story: Story) -> None:
    run = story.scorings["monday"]
    assert run["auto_scheduled"] is True
    assert run["state_name"] == "Completed", run["state"]
    table = story.predictions("monday")
    assert table["row_id"].to_pylist() == list(range(ROWS))
    truth = [row % 10 for row in range(ROWS)]
    right = np.mean([one == other for one, other in zip(table["prediction"].to_pylist(), truth, strict=True)])
    assert right > 0.8
    about = json.loads(table.schema.metadata[b"unroll"])
    assert about["registered"]["name"] == TASK


def test_bad_rows_and_bad_files_are_quarantined(story: Story) -> None:
    scored, aside = story.predictions("tuesday"), story.predictions("tuesday", "quarantine")
    assert scored.num_rows + aside.num_rows == ROWS
    reasons = dict(zip(aside["row_id"].to_pylist(), aside["reason"].to_pylist(), strict=True))
    assert set(reasons) == set(BAD)
    assert "missing" in reasons[7]
    assert not set(scored["row_id"].to_pylist()) & set(BAD)
    (reason,) = story.store.glob("unroll/quarantine/**/broken.parquet.reason.json")
    assert "broken.parquet" in story.store.cat(reason).decode()
    assert not story.store.exists("unroll/inbox/broken.parquet")


def test_the_ledger_is_in_postgresql(story: Story) -> None:
    url = story.environment["UNROLL_LEDGER_URL"].replace("+psycopg", "")
    with psycopg.connect(url, passfile=story.environment["PGPASSFILE"]) as connection:
        tables = [
            str(row[0]) for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname='public'")
        ]
        counts = {
            name: connection.execute(
                psycopg.sql.SQL("SELECT count(*) FROM {}").format(psycopg.sql.Identifier(name))
            ).fetchone()
            for name in tables
        }
    assert max(count[0] for count in counts.values() if count) >= 5, counts
    assert not (story.place / ".unroll/ledger.sqlite").exists()


def test_drift_ends_the_run_in_a_state_of_its_own(story: Story) -> None:
    run = story.scorings["wednesday"]
    assert (run["state_type"], run["state_name"]) == ("COMPLETED", "Drifted")
    keys = {one["key"] for one in story.ask("artifacts", flow_runs={"id": {"any_": [run["id"]]}})}
    assert "drift" in keys
    # retrain is off
    trained = story.ask("flow_runs", deployments={"name": {"any_": ["train"]}})
    assert len(trained) == 1


def test_promote_and_rollback_change_what_scores(story: Story) -> None:
    versions = {day: set(story.predictions(day)["model_version"].to_pylist()) for day in story.scorings}
    assert all(len(found) == 1 for found in versions.values())
    assert versions["monday"] == versions["tuesday"] == versions["friday"]
    assert versions["wednesday"] != versions["friday"]


def test_a_prediction_leads_back_to_the_commit(story: Story, tmp_path: Path) -> None:
    (place,) = story.store.glob("unroll/predictions/**/friday-*.parquet")
    story.store.get(place, str(tmp_path / "friday.parquet"))
    said = story.unroll("lineage", str(tmp_path / "friday.parquet"), "3")
    commit = stack_workplace.run(story.place, os.environ, "git", "rev-parse", "HEAD").strip()
    assert commit in said
    assert "data/raw/made" in said


def test_every_scheduled_run_ended_well_once_there_was_a_champion(story: Story) -> None:
    runs = story.ask("flow_runs", flow_runs={"start_time": {"after_": story.training["end_time"]}})
    going = ("SCHEDULED", "PENDING", "RUNNING", "CANCELLING")
    ended = {one["state_name"] for one in runs if one["state_type"] not in going}
    assert ended <= {"Completed", "Drifted", "Cancelled"}


def test_mlflow_compares_the_runs(story: Story, tmp_path: Path) -> None:
    server = story.environment["MLFLOW_TRACKING_URI"]
    wanted = {"experiment_name": TASK}
    answer = requests.get(f"{server}/api/2.0/mlflow/experiments/get-by-name", params=wanted, timeout=30).json()
    number = answer["experiment"]["experiment_id"]
    answer = call(f"{server}/api/2.0/mlflow/runs/search", {"experiment_ids": [number]})
    runs = [run["info"]["run_id"] for run in answer["runs"]]
    with chromium() as page:
        page.goto(f"{server}/#/compare-runs?runs={quote(json.dumps(runs))}&experiments={quote(json.dumps([number]))}")
        page.get_by_text("Comparing 2 Runs").wait_for()
        # Closed, these leave room for the figures.
        for section in ("Visualizations", "Parameters"):
            page.get_by_text(section, exact=True).first.click()
        page.get_by_text("baseline.majority.accuracy").wait_for()
        told = page.inner_text("body")
        assert "unroll.gate.decision" in told
        assert {"large", "small"} <= set(told.split())
        keep(page, "mlflow-comparison", tmp_path)


def test_prefect_shows_a_run_with_its_artifacts(story: Story, tmp_path: Path) -> None:
    server = story.api.removesuffix("/api")
    run = story.scorings["wednesday"]["id"]
    with chromium() as page:
        page.goto(f"{server}/runs/flow-run/{run}")
        page.get_by_text("Artifacts", exact=True).last.click()
        page.get_by_text("scored-files").first.wait_for()
        told = page.inner_text("body")
        assert "drift" in told
        assert "Drifted" in told
        keep(page, "prefect-run", tmp_path)
        (table,) = story.ask("artifacts", artifacts={"flow_run_id": {"any_": [run]}, "key": {"any_": ["drift"]}})
        page.goto(f"{server}/artifacts/artifact/{table['id']}")
        page.get_by_text("psi", exact=False).first.wait_for()
        keep(page, "prefect-drift", tmp_path)


def test_no_secret_is_in_any_log(story: Story) -> None:
    texts = [path.read_text(errors="replace") for path in (story.stack.folder / "logs").iterdir()]
    texts += [str(one["message"]) for one in story.ask("logs", limit=200)] + list(story.told.values())
    for secret in story.stack.secrets():
        assert not [text for text in texts if secret in text]
