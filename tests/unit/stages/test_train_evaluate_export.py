"""Baseline, train, evaluate and export of every kind of sequence: each stage takes what the one before it left."""

import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from unroll.features.samples import Samples
from unroll.inference.bundle import load_bundle

pytestmark = pytest.mark.slow

TRAINING = {"epochs": 2, "batch_size": 16, "learning_rate": 0.01, "device": "cpu"}
RUN = """
import sys
from unroll.stages import baseline, evaluate, export, train

for name in sys.argv[1:]:
    baseline.run(name.removesuffix("-gru"))
    for stage in (train, evaluate, export):
        stage.run(name)
"""
# What is beside plots that every experiment has: confusion, lengths and the like are the tasks' own.
PLOTS = {
    "text_class": {"neighbours.png"},
    "translation": {"neighbours.png", "attention.png"},
    "language_model": {"neighbours.png"},
    "recording_class": set(),
    "strip_columns": set(),
    "strip_captions": {"neighbours.png"},
    "tags": {"neighbours.png"},
}


@pytest.fixture(scope="module")
def project(tiny, tmp_path_factory):
    """A folder with samples of every kind, and an experiment on each, all stages done."""
    folder = tmp_path_factory.mktemp("stages")
    tasks = {kind.replace("_", "-"): tiny.plain(kind) for kind in PLOTS}
    experiments = {}
    for kind in PLOTS:
        name = kind.replace("_", "-")
        seeds = {"seeds": [0, 1]} if kind in ("text_class", "tags", "recording_class") else {}
        options = {"bidirectional": True} if kind == "translation" else {}
        model = json.loads(tiny.model_for(kind, "gru", **options).model_dump_json())
        experiments[f"{name}-gru"] = {"task": name, "model": model, "training": {**TRAINING, **seeds}}
        tiny.samples(kind).save(folder / "data/features" / name)
    content = {"tasks": tasks, "experiments": experiments, "scoring": {"model": "models/tags-gru"}}
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    (folder / "dvc.lock").write_text("stages: {}\n")
    # One process for all: most of the time of a stage is that of its imports.
    done = subprocess.run(
        [sys.executable, "-c", RUN, *experiments],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return folder


every_kind = pytest.mark.parametrize("kind", PLOTS)


def model_folder(project, kind):
    return project / "models" / f"{kind.replace('_', '-')}-gru"


@every_kind
def test_evaluation_has_figures_beside_the_baselines(project, kind, tiny):
    found = json.loads((model_folder(project, kind) / "evaluation.json").read_text())
    metric = tiny.task(kind).headline
    assert found["metric"] == metric
    assert np.isfinite(found["test"][metric])
    assert found["baseline"]
    for figures in found["baseline"].values():
        assert np.isfinite(figures[metric])
    assert found["topology"] == tiny.task(kind).topology
    # Of tokens there is no gradient; frames and strips have one.
    assert ("gradient_reach" in found) is (kind == "strip_columns")


@every_kind
def test_predictions_stand_beside_what_was_true(project, kind, tiny):
    table = pq.read_table(model_folder(project, kind) / "predictions.parquet")
    samples = Samples.load(project / "data/features" / kind.replace("_", "-"))
    rows = samples.test_rows()
    assert table.num_rows == len(rows["targets"])
    if kind == "translation":
        assert table["target"].to_pylist() == rows["target"].tolist()
        assert all(isinstance(text, str) for text in table["prediction"].to_pylist())
    if kind == "strip_captions":
        assert table["caption"].to_pylist() == rows["caption"].tolist()


@every_kind
def test_plots_are_drawn(project, kind):
    found = {path.name for path in (model_folder(project, kind) / "plots").rglob("*.png")}
    assert {"learning.png"} | PLOTS[kind] <= found


def test_tunes_are_written(project):
    folder = model_folder(project) / "plots" / "written"
    assert {path.suffix for path in folder.iterdir()} == {".abc", ".mid"}
    assert (model_folder(project, "language_model") / "plots/written/drawn.txt").read_text().strip()


@every_kind
def test_the_bundle_agrees_with_torch(project, kind):
    folder = model_folder(project, kind)
    found = json.loads((folder / "parity.json").read_text())
    assert found["passed"]
    assert load_bundle(folder / "bundle").card.task.kind == kind
