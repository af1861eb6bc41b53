"""Baseline, train, evaluate and export for every kind of task: each stage reads what the one before it wrote."""

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

# Of outputs, of labels in time, of decoding loops, and of a language model.
INT8 = ("text_class", "strip_columns", "translation", "language_model")
TRAINING = {"epochs": 2, "batch_size": 16}
RUN = """
import sys
from unroll.stages import baseline, evaluate, export, train

for name in sys.argv[1:]:
    baseline.run(name.removesuffix("-gru"))
    for stage in (train, evaluate, export):
        stage.run(name)
"""
# Plots of the network itself, besides learning.png and those of the domain.
PLOTS = {
    "text_class": {"neighbors.png"},
    "translation": {"neighbors.png", "attention.png"},
    "language_model": {"neighbors.png"},
    "tunes": {"neighbors.png"},
    "recording_class": set(),
    "sound_class": set(),
    "strip_columns": set(),
    "strip_captions": {"neighbors.png"},
    "tags": {"neighbors.png"},
}


@pytest.fixture(scope="module")
def project(tiny, tmp_path_factory):
    """A folder with samples of every kind and an experiment on each, all stages done."""
    folder = tmp_path_factory.mktemp("stages")
    content = {}
    for kind in PLOTS:
        name = kind.replace("_", "-")
        seeds = {"seeds": [0, 1]} if kind in ("text_class", "recording_class") else {}
        options = {"bidirectional": True} if kind == "translation" else {}
        model = json.loads(tiny.model_for(kind, "gru", **options).model_dump_json())
        own = tiny.parameters(kind, f"{name}-gru", name, model=model, training={**TRAINING, **seeds})
        if kind in INT8:
            own["experiments"][f"{name}-gru"]["export"] = {"quantize": "int8", "max_loss": 0.5}
        for section, entries in own.items():
            content.setdefault(section, {}).update(entries)
        tiny.samples(kind).save(folder / "data/features" / name)
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    (folder / "dvc.lock").write_text("stages: {}\n")
    # One process for all: most of the time of a stage is that of its imports.
    done = subprocess.run(
        [sys.executable, "-c", RUN, *content["experiments"]],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return folder


@pytest.mark.parametrize("kind", PLOTS)
def test_what_the_stages_write(project, kind, tiny):
    name, task = kind.replace("_", "-"), tiny.task(kind)
    folder, metric = project / "models" / f"{name}-gru", task.metrics.headline
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert (evaluation["metric"], evaluation["topology"]) == (metric, task.topology)
    assert evaluation["baseline"]
    for figures in (evaluation["test"], *evaluation["baseline"].values()):
        assert np.isfinite(figures[metric])
    assert (len(evaluation["per_seed"]) == 2) is (kind in ("text_class", "recording_class"))
    # Tokens have no gradient, and recordings no fixed number of steps.
    assert ("gradient_reach" in evaluation) is (kind == "strip_columns")
    rows = Samples.load(project / "data/features" / name).test_rows()
    table = pq.read_table(folder / "predictions.parquet")
    assert table.num_rows == len(rows["targets"])
    for column in {"target", "caption"} & rows.keys():
        assert table[column].to_pylist() == rows[column].tolist()
    plots = {path.name for path in (folder / "plots").rglob("*.png")}
    assert {"learning.png"} | PLOTS[kind] < plots
    shown = list((project / f"models/results/{name}-gru").glob("*.png"))
    assert 1 <= len(shown) <= 3
    assert all(path.stat().st_size < (folder / "plots" / path.name).stat().st_size for path in shown)
    assert (folder / "plots/written").exists() is (kind in ("language_model", "tunes"))
    parity = json.loads((folder / "parity.json").read_text())
    assert parity["passed"]
    card = load_bundle(folder / "bundle").card
    assert ("int8" in parity) is ("int8" in card.metrics) is (kind in INT8)
    result = json.loads((project / f"models/results/{name}-gru.json").read_text())
    assert result["parity"] == (f"int8 loses {parity['int8']['loss']:.2%}" if kind in INT8 else "passed")
    assert result["bytes"] == (folder / "bundle/model.onnx").stat().st_size
    assert result["parameters"] > 0
    assert (card.task.domain, card.task.kind) == (task.domain, task.kind)
