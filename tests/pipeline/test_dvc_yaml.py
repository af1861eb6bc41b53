"""dvc.yaml's contract: what a stage says it depends on covers what its code reads, imports and loads.

Left out on purpose, because they cannot change a result: `errors`, `paths` and `files` (where and how bytes are
written), `tracking` (what MLflow is told) and `cli` (how a stage is called).
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from unroll.cli.pipeline import STAGES as COMMANDS

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "unroll"
CONTENT = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
STAGES = {name: stage.get("do", stage) for name, stage in CONTENT.items()}
NO_RESULT = {"errors", "paths", "files", "tracking", "cli"}
MODULES = {
    "unroll"
    + "".join(f".{part}" for part in path.relative_to(SOURCE).with_suffix("").parts if part != "__init__"): path
    for path in sorted(SOURCE.rglob("*.py"))
}

every_stage = pytest.mark.parametrize("stage", STAGES)


def entries(stage, *kinds):
    """Paths of outs, metrics or plots; an entry with options is a mapping of one."""
    found = []
    for kind in kinds:
        parts = STAGES[stage].get(kind, [])
        found += [next(iter(entry)) if isinstance(entry, dict) else entry for entry in parts]
    return found


def imported(path):
    """Modules of ours that a file names: `from unroll.tasks import task_of` means the package's own file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(one.name for one in node.names if one.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            for one in node.names:
                inner = f"{node.module}.{one.name}"
                found.add(inner if inner in MODULES else node.module)
    return found


def closure(module):
    """All of ours that a module comes to, late imports included."""
    seen, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name not in seen and name.removeprefix("unroll.").partition(".")[0] not in NO_RESULT:
            seen.add(name)
            waiting += imported(MODULES[name])
    return seen - {"unroll"}


@every_stage
def test_deps_cover_the_code(stage):
    deps = [Path(dep) for dep in STAGES[stage]["deps"]]
    missing = []
    for module in sorted(closure(f"unroll.stages.{stage}")):
        path = MODULES[module].relative_to(ROOT)
        if not any(dep == path or dep in path.parents for dep in deps):
            missing.append(str(path))
    assert not missing


@every_stage
def test_deps_name_nothing_that_is_not_there(stage):
    for dep in STAGES[stage]["deps"]:
        if dep.startswith("src/"):
            assert (ROOT / dep).exists()


@every_stage
def test_no_dep_on_code_that_the_stage_never_comes_to(stage):
    """A change there would train again for nothing."""
    reached = {MODULES[module].relative_to(ROOT) for module in closure(f"unroll.stages.{stage}")}
    for dep in map(Path, STAGES[stage]["deps"]):
        if dep.parts[0] == "src":
            assert any(dep == path or dep in path.parents for path in reached), dep


def sections(stage):
    """Sections of params.yaml that a stage loads, by `load_section` or `entry_names`."""
    tree = ast.parse((SOURCE / "stages" / f"{stage}.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [node for node in calls if ast.unparse(node.func) == "params.load_all"], "it reads every section"
    readers = ("params.load_section", "params.names")
    return {node.args[0].value for node in calls if ast.unparse(node.func) in readers}


@every_stage
def test_params_are_the_sections_that_are_loaded(stage):
    declared = {re.split(r"[.]", one)[0] for one in STAGES[stage].get("params", [])}
    assert declared == sections(stage)


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("ingest", ["datasets.${key}"]),
        ("validate", ["datasets.${key}"]),
        ("featurize", ["tasks.${key}"]),
        ("baseline", ["tasks.${key}"]),
        ("train", ["experiments.${key}", "tasks.${item.task}"]),
        ("evaluate", ["experiments.${key}", "tasks.${item.task}"]),
        ("export", ["experiments.${key}", "tasks.${item.task}"]),
        ("compare", ["experiments"]),
    ],
)
def test_params_are_one_entry_and_no_more(stage, expected):
    assert STAGES[stage]["params"] == expected


def test_every_stage_has_a_file_and_a_command():
    assert set(STAGES) == set(COMMANDS)
    for stage in STAGES:
        assert (SOURCE / "stages" / f"{stage}.py").exists()


@every_stage
def test_stages_call_their_commands(stage):
    assert STAGES[stage]["cmd"] == (f"unroll {stage}" if stage == "compare" else f"unroll {stage} ${{key}}")


@every_stage
def test_outputs_are_data_and_models(stage):
    outs = entries(stage, "outs", "metrics", "plots")
    assert outs
    for out in outs:
        assert out.startswith(("data/raw/", "data/validation/", "data/features/", "data/baselines/", "models/"))


@every_stage
def test_no_output_differs_between_equal_runs(stage):
    """Times, run ids and commits stand beside the outputs of DVC, never in them."""
    outs = [Path(out) for out in entries(stage, "outs", "metrics", "plots")]
    for free in ("timing.json", "provenance.json"):
        path = Path("models/${key}") / free
        assert not any(out == path or out in path.parents for out in outs)


def test_no_two_stages_write_to_one_place():
    outs = [Path(out) for stage in STAGES for out in entries(stage, "outs", "metrics", "plots")]
    assert len(set(outs)) == len(outs)
    for one in outs:
        assert not any(one in other.parents for other in outs)


@every_stage
def test_data_that_is_read_is_written_by_an_earlier_stage(stage):
    """Names of foreach differ from stage to stage: only the folders are compared."""

    def shape(path):
        return re.sub(r"\$\{[^}]*\}", "*", path)

    written = {shape(out) for name in list(STAGES)[: list(STAGES).index(stage)]
               for out in entries(name, "outs", "metrics", "plots")}  # fmt: skip
    for dep in STAGES[stage]["deps"]:
        # What a user brings: no stage writes it.
        if not dep.startswith("src/") and dep != "data/own":
            here = shape(dep)
            assert here in written or any(out.startswith(f"{here}/") for out in written), dep


def read_places(stage):
    """Calls of `paths.…(…)` in a stage's file that are an argument of something that reads."""
    text = (SOURCE / "stages" / f"{stage}.py").read_text()
    return set(re.findall(r"paths\.(\w+)\(", text))


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
    "parity": "/parity.json",
    "result": "models/results",
}
# Written by train for other tools, and told to MLflow by evaluate; never part of a result.
BESIDE = {"timing", "provenance", "checkpoints", "model"}


@every_stage
def test_every_place_that_the_code_names_is_declared(stage):
    declared = [*STAGES[stage]["deps"], *entries(stage, "outs", "metrics", "plots")]
    for place in read_places(stage) - BESIDE:
        # The md5s in a card are DVC's own, out of dvc.lock: the data itself is not read.
        if (stage, place) == ("export", "raw"):
            continue
        assert any(PLACES[place] in path for path in declared), place


@pytest.mark.slow
def test_dvc_reads_the_graph():
    """Every dataset, task and experiment of params.yaml becomes its stages."""
    command = [sys.executable, "-m", "dvc", "stage", "list", "--name-only"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = set(done.stdout.split())
    parameters = yaml.safe_load((ROOT / "params.yaml").read_text())
    for stage, section in (
        ("ingest", "datasets"),
        ("validate", "datasets"),
        ("featurize", "tasks"),
        ("baseline", "tasks"),
        ("train", "experiments"),
        ("evaluate", "experiments"),
        ("export", "experiments"),
    ):
        assert {f"{stage}@{name}" for name in parameters[section]} <= found
    assert "compare" in found
