"""The project's own graph, small: it runs, a second run does nothing, and two runs write the same results."""

import csv
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import yaml

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
EXPERIMENTS = {"price": "levels", "fan": "quantiles", "digits": "digit-rows"}


def parameters(tiny):
    content = {}
    for name, kind, cell, more in (
        ("price", "price", "lstm", {}),
        ("fan", "return_quantiles", "gru", {"seeds": [0, 1], "keep": "last"}),
        ("digits", "digits", "rnn", {}),
    ):
        model = {"kind": "recurrent", "layers": [{"cell": cell, "units": 6}]}
        training = {"epochs": 2, "batch_size": 32, "learning_rate": 0.005, **more}
        own = tiny.parameters(kind, name, EXPERIMENTS[name], model=model, training=training)
        for section, entries in own.items():
            content.setdefault(section, {}).update(entries)
    content["datasets"]["stock"] |= {"sources": [{"kind": "path", "path": "data/own/prices.csv"}], "ticker": "ONE"}
    content["datasets"]["mnist"]["sources"] = [{"kind": "path", "path": "data/own/digits"}]
    return content


def write_own_data(folder, tiny):
    (folder / "digits").mkdir(parents=True)
    prices = tiny.prices().drop_columns(["ticker", "adj_close", "split"])
    pyarrow.csv.write_csv(prices, folder / "prices.csv")
    table = tiny.digits()
    for split, name in (("train", "train"), ("test", "t10k")):
        rows = table.filter(np.array(table["split"].to_pylist()) == split)
        pixels = rows["pixels"].combine_chunks().flatten().to_numpy().tobytes()
        count = rows.num_rows
        (folder / "digits" / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, count, 28, 28) + pixels)
        labels = rows["label"].to_numpy().tobytes()
        (folder / "digits" / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, count) + labels)


class Project:
    def __init__(self, path, tiny):
        self.path = path
        path.mkdir()
        shutil.copytree(ROOT / "src", path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        for name in ("dvc.yaml", "pyproject.toml", ".gitignore", ".dvcignore"):
            shutil.copy(ROOT / name, path / name)
        (path / "params.yaml").write_text(yaml.safe_dump(parameters(tiny), sort_keys=False))
        write_own_data(path / "data/own", tiny)
        self.run("git", "init", "--quiet")
        self.run("dvc", "init", "--quiet")
        shutil.copy(ROOT / ".dvc/config", path / ".dvc/config")

    def started(self, *command):
        mine = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PREFECT_"))}
        mine |= {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.path.parent / "site-cache" / self.path.name),
        }
        return subprocess.Popen(
            command, cwd=self.path, env=mine, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def run(self, *command):
        process = self.started(*command)
        out, _ = process.communicate(timeout=1200)
        assert process.returncode == 0, out
        return out

    def read(self, name):
        return json.loads((self.path / name).read_text())


@pytest.fixture(scope="module")
def projects(tiny, tmp_path_factory):
    """Two in parallel: one runs the whole graph, the other what an experiment of several networks needs."""
    folder = tmp_path_factory.mktemp("repro")
    both = [Project(folder / name, tiny) for name in ("one", "two")]
    processes = [both[0].started("dvc", "repro"), both[1].started("dvc", "repro", "export@fan")]
    try:
        outputs = [process.communicate(timeout=2400)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, text in zip(processes, outputs, strict=True):
        assert process.returncode == 0, text[-5000:]
    return both


@pytest.fixture
def project(projects):
    return projects[0]


def lock(project):
    return yaml.safe_load((project.path / "dvc.lock").read_text())["stages"]


def test_two_runs_write_the_same_into_the_lock_file(projects):
    whole, part = map(lock, projects)
    assert set(part) == {
        "ingest@stock", "validate@stock", "featurize@quantiles", "baseline@quantiles", "train@fan", "evaluate@fan",
        "export@fan",
    }  # fmt: skip
    assert {stage: whole[stage] for stage in part} == part


def test_a_second_run_does_nothing(project):
    before = (project.path / "dvc.lock").read_bytes()
    assert "Running stage" not in project.run("dvc", "repro")
    assert (project.path / "dvc.lock").read_bytes() == before


def test_a_parameter_runs_its_own_stages_again_and_no_others(project):
    path = project.path / "params.yaml"
    text = path.read_text()
    content = yaml.safe_load(text)
    content["experiments"]["fan"]["training"]["epochs"] = 3
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    try:
        output = project.run("dvc", "repro", "--dry")
    finally:
        path.write_text(text)
    running = {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}
    assert "train@fan" in running
    assert running <= {"train@fan", "evaluate@fan", "export@fan", "compare"}


KEYS = {
    "price": ["test.rmse", "test.mae", "test.ratio_to_persistence", "baseline.persistence.rmse"],
    "fan": ["test.pinball", "test.coverage_80", "baseline.ewma.pinball", "baseline.constant.pinball"],
    "digits": ["test.accuracy", "baseline.majority.accuracy", "baseline.logistic_regression.accuracy"],
}
EPOCHS = {"price": 2, "fan": 8, "digits": 2}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_results_that_other_tools_read(project, experiment):
    folder = f"models/{experiment}"
    for key in KEYS[experiment]:
        value = project.read(f"{folder}/evaluation.json")
        for part in key.split("."):
            value = value[part]
        assert isinstance(value, float)
    parity, timing = project.read(f"{folder}/parity.json"), project.read(f"{folder}/timing.json")
    assert parity["passed"] is True
    assert parity["max_abs_error"] < 1e-3
    assert len(parity["shapes_tried"]) > 1
    assert min(timing["seconds"], timing["samples_per_second"]) > 0
    assert timing["epochs"] == EPOCHS[experiment]
    assert {"git_commit", "git_dirty", "mlflow_run_id"} <= project.read(f"{folder}/provenance.json").keys()
    hashes = {out["path"]: out["md5"] for stage in lock(project).values() for out in stage.get("outs", [])}
    data = project.read(f"{folder}/bundle/card.json")["data"]
    assert len(data) == 2
    assert data.items() <= hashes.items()

    with (project.path / "models/leaderboard.csv").open() as file:
        rows = {row["experiment"]: row for row in csv.DictReader(file)}
    assert rows.keys() == EXPERIMENTS.keys()
    row = rows[experiment]
    assert (row["task"], row["parity"]) == (EXPERIMENTS[experiment], "passed")
    assert min(float(row["value"]), float(row["baseline_value"])) > 0
    page = (project.path / "models/leaderboard.html").read_text()
    assert f'id="experiment-{experiment}"' in page
    # Twenty experiments take about 5 MB at most.
    assert len(page) < 250_000 * len(EXPERIMENTS)


def test_an_experiment_in_a_folder_of_its_own_has_own_data(tiny, tmp_path):
    project, stages = Project(tmp_path / "own", tiny), ("ingest@stock", "ingest@mnist")
    project.run("dvc", "add", "data/own/prices.csv", "data/own/digits")
    project.run("dvc", "repro", *stages)
    project.run("git", "add", ".")
    project.run("git", "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "-m", "Own data")
    output = project.run("dvc", "exp", "run", "--temp", "-S", "datasets.stock.ticker=TWO", *stages)
    assert output.count("Running stage") == 1
    assert "Running stage 'ingest@stock'" in output


def test_outputs_hold_nothing_of_this_machine(project):
    for stage in lock(project).values():
        for out in stage.get("outs", []):
            place = project.path / out["path"]
            files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
            assert files
            for path in files:
                assert str(project.path).encode() not in path.read_bytes(), path
                assert not path.name.endswith(".part"), path


def test_bundles_score_what_the_user_brings(project):
    def predict(name, file):
        project.run("unroll", "predict", "--model", f"models/{name}", "--input", file, "--output", name)
        return pq.read_table(next((project.path / name).iterdir()))["prediction"].to_pylist()

    expected = pq.read_table(project.path / "models/digits/predictions.parquet")["prediction"].to_pylist()
    found = predict("digits", "data/own/digits/t10k-images-idx3-ubyte")
    assert len(found) == 60
    assert found == np.array(expected).argmax(1).tolist()
    for name in ("price", "fan"):
        (row,) = predict(name, "data/own/prices.csv")
        assert np.isfinite(row).all()


def test_one_mlflow_run_an_experiment(project):
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{project.path / 'mlflow.db'}")
    for name, task in EXPERIMENTS.items():
        (experiment,) = [one for one in client.search_experiments() if one.name == task]
        (run,) = client.search_runs([experiment.experiment_id])
        assert (run.info.run_name, run.info.status) == (name, "FINISHED")
        assert {entry.dataset.name for entry in run.inputs.dataset_inputs} >= {f"data/features/{task}"}
        assert {entry.path for entry in client.list_artifacts(run.info.run_id)} >= {"plots", "bundle"}
        assert {key.partition(".")[0] for key in run.data.metrics} >= {"test", "baseline"}
