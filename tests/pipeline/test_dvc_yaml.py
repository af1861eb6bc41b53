"""dvc.yaml: each stage has the commands, parameters and paths of its code. Its code files: test_staleness.py."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from unroll.cli.pipeline import STAGES as COMMANDS

ROOT = Path(__file__).parents[2]
CONTENT = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
STAGES = {name: stage.get("do", stage) for name, stage in CONTENT.items()}
EXPERIMENT = {"experiments.${key}", "tasks.${item.task}"}
PARAMS = {
    "ingest": {"datasets.${key}"},
    "validate": {"datasets.${key}"},
    "featurize": {"tasks.${key}"},
    "baseline": {"tasks.${key}"},
    "train": EXPERIMENT,
    "evaluate": EXPERIMENT,
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
