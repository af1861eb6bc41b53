"""dvc.yaml: commands, parameters and paths of each stage, and what a change to a file makes stale."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from unroll.cli.pipeline import STAGES as COMMANDS
from unroll.config.experiments import Experiment

ROOT = Path(__file__).parents[2]
CONTENT = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
STAGES = {name: stage.get("do", stage) for name, stage in CONTENT.items()}
EXPERIMENT = {"experiments.${key}", "tasks.${item.task}"}
# How the bundle is made changes no weights. The domain is the task's.
TRAINED = {"tasks.${item.task}"} | {
    f"experiments.${{key}}.{name}" for name in Experiment.model_fields.keys() - {"domain", "export"}
}
PARAMS = {
    "ingest": {"datasets.${key}"},
    "validate": {"datasets.${key}"},
    "featurize": {"tasks.${key}"},
    "baseline": {"tasks.${key}"},
    "train": TRAINED,
    "evaluate": TRAINED,
    "export": EXPERIMENT,
    "compare": {"experiments"},
}
PLACES = {
    "raw": "data/raw/",
    "table": "data/raw/",
    "validation": "data/validation/",
    "features": "data/features/",
    "baselines": "data/baselines/",
    "weights": "/weights",
    "history": "/history.csv",
    "evaluation": "/evaluation.json",
    "plots": "/plots",
    "bundle": "/bundle",
    "graph": "/bundle",
    "parity": "/parity.json",
    "result": "models/results",
    "shown": "models/results",
}
"""Function of unroll.paths -> part of the path that it returns."""
# They differ between equal runs, so they are never part of an output of DVC.
UNTRACKED = {"timing", "provenance", "checkpoints", "progress", "model"}

every_stage = pytest.mark.parametrize("stage", STAGES)


def outputs(stage):
    """Paths of outs, metrics and plots; an entry with options is a mapping of one."""
    entries = [entry for kind in ("outs", "metrics", "plots") for entry in STAGES[stage].get(kind, [])]
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def source(stage):
    return (ROOT / "src/unroll/stages" / f"{stage}.py").read_text()


def test_there_is_a_stage_for_each_command():
    assert set(STAGES) == set(COMMANDS) == set(PARAMS)
    for stage, content in STAGES.items():
        assert content["cmd"] == ("unroll compare" if stage == "compare" else f"unroll {stage} ${{key}}")


@every_stage
def test_params_are_the_entries_that_are_loaded(stage):
    calls = [node for node in ast.walk(ast.parse(source(stage))) if isinstance(node, ast.Call)]
    loads = [call for call in calls if ast.unparse(call.func).startswith(("load_", "entry_names"))]
    loaded = {ast.literal_eval(call.args[0]) for call in loads if call.args and isinstance(call.args[0], ast.Constant)}
    assert "load_all" not in {ast.unparse(call.func) for call in loads}
    of_params_yaml = [entry for entry in STAGES[stage]["params"] if isinstance(entry, str)]
    assert set(of_params_yaml) == PARAMS[stage]
    assert {entry.partition(".")[0] for entry in PARAMS[stage]} == loaded


@every_stage
def test_every_path_of_the_code_is_declared(stage):
    declared = [*STAGES[stage]["deps"], *outputs(stage)]
    used = set(re.findall(r"paths\.(\w+)\(", source(stage))) - UNTRACKED
    # The hashes of the data in a card are DVC's own, from dvc.lock: the data itself is not read.
    for place in used - ({"raw"} if stage == "export" else set()):
        assert any(PLACES[place] in path for path in declared), place


SRC = "src/unroll"
# What every stage runs through and what changes no result.
PLUMBING = {
    "cli",
    "domains",
    "domains.domain",
    "errors",
    "files",
    "paths",
    "redaction",
    "stages.progress",
    "tracking.places",
    "tracking.provenance",
    "tracking.results",
    "tracking.runs",
    "tracking.store",
}


@pytest.fixture(scope="module")
def deps():
    code = (
        "import json\nfrom dvc.repo import Repo\n"
        "print(json.dumps({s.addressing: [str(d.def_path) for d in s.deps] for s in Repo('.').index.stages}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def stale(deps, *changed, verb="train"):
    """Names of the stages of a verb that directly depend on one of the files."""
    return {
        stage.partition("@")[2]
        for stage, paths in deps.items()
        if stage.partition("@")[0] == verb
        and any(one == path or one.startswith(f"{path}/") for one in changed for path in paths)
    }


def trainings(deps):
    return {stage.partition("@")[2] for stage in deps if stage.startswith("train@")}


@pytest.mark.parametrize(
    "changed",
    [
        "domains/digits/plots.py",
        "domains/prices/reader.py",
        "domains/texts/dataset.py",
        "export/onnx.py",
        "inference/scorer.py",
        "promotion/gates.py",
        "scoring/job.py",
        "cli/__init__.py",
        "features/windows.py",
    ],
)
def test_no_training_is_stale(deps, changed):
    assert (ROOT / SRC / changed).exists()
    assert not stale(deps, f"{SRC}/{changed}")


@pytest.mark.parametrize(
    "changed",
    ["models/recurrent.py", "training/loop.py", "metrics/metrics.py", "domains/task.py", "config/experiments.py"],
)
def test_every_training_is_stale(deps, changed):
    assert stale(deps, f"{SRC}/{changed}") == trainings(deps)


@pytest.mark.parametrize("part", ["config", "samples", "metrics", "task"])
def test_the_trainings_of_the_domain_alone_are_stale(deps, part):
    digits = {"mnist-dense", "mnist-rnn", "mnist-lstm", "mnist-gru", "mnist-bilstm", "mnist-deep"}
    assert stale(deps, f"{SRC}/domains/digits/{part}.py") == digits


def test_a_plot_makes_evaluations_stale(deps):
    assert "mnist-lstm" in stale(deps, f"{SRC}/domains/digits/plots.py", verb="evaluate")
    assert stale(deps, f"{SRC}/plotting/figures.py", verb="evaluate") == trainings(deps)


@every_stage
def test_the_page_makes_the_comparison_alone_stale(deps, stage):
    assert stale(deps, f"{SRC}/report/page.py", verb=stage) == ({""} if stage == "compare" else set())


@pytest.mark.parametrize(
    ("verb", "name", "parts"),
    [
        ("featurize", "digit-rows", ("samples",)),
        ("baseline", "digit-rows", ("metrics",)),
        ("train", "mnist-lstm", ("samples", "metrics", "task")),
        ("evaluate", "mnist-lstm", ("samples", "metrics", "task", "plots")),
        ("export", "mnist-lstm", ("samples", "metrics", "task", "reader")),
    ],
)
def test_a_stage_depends_on_all_code_that_it_runs(deps, verb, name, parts):
    code = (
        f"import sys, unroll.stages.{verb}\nfrom unroll.domains import domain_of\n"
        f"for part in {parts}: domain_of('digits').part(part)\n"
        "print(*(name for name in sys.modules if name.startswith('unroll.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    uncovered = []
    for module in done.stdout.split():
        inner = module.removeprefix("unroll.")
        path = ROOT / SRC / inner.replace(".", "/")
        other_domain = inner.startswith("domains.") and ".digits" not in inner and inner.count(".") > 1
        # A package without code of its own is covered by its modules; another domain is imported for its sections.
        if path.is_dir() or inner in PLUMBING or inner.startswith("config.") or other_domain:
            continue
        if name not in stale(deps, f"{SRC}/{inner.replace('.', '/')}.py", verb=verb):
            uncovered.append(module)
    assert not uncovered
