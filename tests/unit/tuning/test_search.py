"""Searches for settings: a real small study, one that is killed, and those that are refused."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import yaml
from optuna.trial import TrialState

from unroll import paths
from unroll.cli import main
from unroll.config.reading import load_section
from unroll.config.tuning import with_values
from unroll.errors import ParameterError
from unroll.files import digest_of
from unroll.tuning.results import record_of
from unroll.tuning.space import suggest
from unroll.tuning.study import Plan, begin_study, finished
from unroll.tuning.trial import search
from unroll.tuning.tune import Options, tune

WAIT_FOR_THE_KILL = """
import builtins, os, time

after, parent, real = os.environ.get("WAITS_AFTER"), os.getppid(), print

def print_and_wait(*texts, **options):
    real(*texts, **options)
    while after in str(texts) and os.getppid() == parent:
        time.sleep(0.1)

if after:
    builtins.print = print_and_wait
"""


@pytest.fixture
def project(tiny, own_store):
    """A small experiment with a search, and its features."""

    def make(folder=own_store, kind="digits", **changes):
        folder.mkdir(exist_ok=True)
        model = {"kind": "recurrent", "layers": [{"cell": "gru", "units": 8}]}
        training = {"epochs": 3, "batch_size": 16, "learning_rate": 0.02}
        content = tiny.parameters(kind, "gru", model=model, training=training | changes.pop("training", {}))
        content["experiments"]["gru"]["tune"] = {
            "trials": 5,
            "retrain": 2,
            "space": {"training.learning_rate": {"kind": "float", "low": 0.001, "high": 0.05, "log": True}},
            **changes,
        }
        (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        tiny.samples(kind).save(folder / "data/features/steps")
        return folder

    return make


def plan_of(name="gru"):
    row = load_section("experiments", name)
    return Plan(name, with_values(row, {}), load_section("tasks", row.task), row.tune)


def trials_of(folder):
    with (folder / "models/gru/tuning/trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def runs():
    """The runs of MLflow: that of the search, and those of its trials."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
    found = client.search_runs([client.get_experiment_by_name("steps").experiment_id])
    (parent,) = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    children = {int(run.data.tags["unroll.trial"]): run for run in found if run is not parent}
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {parent.info.run_id}
    return parent, children


@pytest.mark.slow
def test_a_search_from_params_to_results(project, capsys):
    # A rate of 1e38 gives a loss that is not finite: such a trial is pruned.
    space = {"training.learning_rate": {"kind": "categorical", "choices": [0.02, 0.01, 1e38]}}
    here = project(trials=6, space=space, training={"clip_norm": None})
    others = {"weights": here / "models/gru/weights", "lock": here / "dvc.lock"}
    assert main(["tune", "gru", "--jobs", "2", "--apply"]) == 0
    printed = capsys.readouterr().out

    rows = trials_of(here)
    assert len(rows) == 6
    assert rows[0]["training.learning_rate"] == "0.02"
    diverged = [row for row in rows if row["training.learning_rate"] == "1e+38"]
    assert diverged
    assert {(row["state"], row["metric"]) for row in diverged} == {("pruned", "")}
    assert all("loss" in row["note"] for row in diverged)
    best = yaml.safe_load((here / "models/gru/tuning/best.yaml").read_text())
    assert best["validation"]["best"] == max(float(row["metric"]) for row in rows if row["metric"])
    assert best["test"]["seeds"] == [1, 2]
    assert best["summary"] in printed
    pictures = {"history.png", "importance.png", "parallel.png", "slices.png"}
    assert {path.name for path in (here / "models/gru/tuning").glob("*.png")} == pictures
    applied = load_section("experiments", "gru").training.learning_rate
    assert applied == best["parameters"]["training.learning_rate"]
    # Nothing that belongs to the stages was written.
    assert not any(path.exists() for path in others.values())
    assert {path.name for path in (here / "models/gru").iterdir()} == {"tuning"}

    parent, children = runs()
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["test.best.mean"] == pytest.approx(best["test"]["best"]["mean"])
    assert sorted(children) == list(range(6))
    for row in rows:
        run = children[int(row["trial"])]
        assert run.data.tags["unroll.trial_state"] == row["state"]
        assert run.info.status == ("KILLED" if row["state"] == "pruned" else "FINISHED")
        assert float(run.data.params["training.learning_rate"]) == float(row["training.learning_rate"])


def test_a_trial_below_the_median_is_pruned(project):
    project(trials=6)
    plan = plan_of()
    study = begin_study(plan, resume=False, higher_is_better=True)
    distribution = optuna.distributions.FloatDistribution(0.001, 0.05, log=True)
    for _ in range(5):
        study.add_trial(
            optuna.create_trial(
                params={"training.learning_rate": 0.01},
                distributions={"training.learning_rate": distribution},
                value=1.0,
                intermediate_values=dict.fromkeys((1, 2, 3), 0.999),
            )
        )
    search(plan, 0, math.inf)
    first, *_ = finished(study)
    assert (first.state, sorted(first.intermediate_values)) == (TrialState.PRUNED, [1, 2])
    assert len(finished(study)) == 6
    # Its checkpoint is gone.
    assert not list((paths.study("gru") / "checkpoints").glob("*"))


def test_the_search_does_not_read_test_rows(project, tiny):
    """Targets of test rows that are no classes would end a training that reads them."""
    from safetensors.numpy import load_file, save_file

    here = project(trials=2)
    search_values = []
    for spoil in (False, True):
        file = here / "data/features/steps/samples.safetensors"
        if spoil:
            tensors = load_file(file)
            tensors["targets"][tiny.samples("digits").shipped.test] = 10**6
            save_file(tensors, file)
            (here / ".unroll/tuning/gru/study.db").unlink()
        plan = plan_of()
        study = begin_study(plan, resume=False, higher_is_better=True)
        search(plan, 0, math.inf)
        search_values.append([trial.value for trial in finished(study)])
    assert search_values[0] == search_values[1]


def test_without_a_validation_split_nothing_is_searched(here, tiny):
    splits = {"kind": "walk_forward", "first_year": 2011, "last_year": 2012, "valid_share": 0}
    content = tiny.parameters("return_quantiles", "gru", splits=splits, training={"keep": "last"})
    space = {"training.learning_rate": {"kind": "float", "low": 0.001, "high": 0.05}}
    content["experiments"]["gru"]["tune"] = {"space": space}
    (here / "params.yaml").write_text(yaml.safe_dump(content))
    tiny.samples("return_quantiles", splits=splits).save(here / "data/features/steps")
    with pytest.raises(ParameterError, match="valid_share"):
        tune("gru", Options(), print)
    assert not (here / ".unroll").exists()


def test_a_study_is_gone_on_with_only_on_demand_and_unchanged(project):
    here = project()
    begin_study(plan_of(), resume=False, higher_is_better=True)
    with pytest.raises(ParameterError, match="--resume"):
        begin_study(plan_of(), resume=False, higher_is_better=True)
    begin_study(plan_of(), resume=True, higher_is_better=True)
    project(here, training={"batch_size": 8})
    with pytest.raises(ParameterError, match=r"experiments\.gru\.training"):
        begin_study(plan_of(), resume=True, higher_is_better=True)


@pytest.mark.parametrize(
    ("name", "dimension", "own"),
    [
        ("training.learning_rate", {"kind": "float", "low": 0.001, "high": 0.05, "log": True}, 0.012345),
        ("training.batch_size", {"kind": "int", "low": 4, "high": 32, "step": 4}, 16),
        # Without the defaults, which the experiment's own layer has.
        (
            "model.layers.0",
            {"kind": "categorical", "choices": [{"cell": "lstm", "units": 8}, {"cell": "gru", "units": 8}]},
            None,
        ),
    ],
)
def test_the_first_trial_has_the_settings_of_the_row(project, name, dimension, own):
    project(trials=2, space={name: dimension}, training={"learning_rate": 0.012345})
    plan = plan_of()
    study = begin_study(plan, resume=False, higher_is_better=True)
    trial = study.ask()
    values = suggest(trial, plan.tuning.space)
    assert values == {name: own or {"cell": "gru", "units": 8}}
    assert with_values(plan.experiment, values) == plan.experiment
    study.tell(trial, 0.5)
    assert record_of(*finished(study), plan.tuning.space).values == values


def test_a_layout_that_cannot_be_written_is_refused_before_the_search(project):
    here = project()
    shared = yaml.safe_load((here / "params.yaml").read_text())
    training = shared["experiments"]["gru"].pop("training")
    lines = yaml.safe_dump(shared).replace("  gru:\n", "  gru:\n    training: *shared\n", 1)
    (here / "params.yaml").write_text(f"x: &shared {json.dumps(training)}\n{lines}")
    with pytest.raises(ParameterError, match="alias"):
        tune("gru", Options(apply=True), print)
    assert not (here / ".unroll").exists()


@pytest.mark.slow
def test_a_killed_search_goes_on_from_its_checkpoints(project, tmp_path):
    """Killed with kill -9 in its first trial, whose result is that of a search that was not killed."""
    whole = project(tmp_path / "whole", trials=2, training={"epochs": 5, "batch_size": 1})
    broken = project(tmp_path / "broken", trials=2, training={"epochs": 5, "batch_size": 1})
    command = [Path(sys.executable).parent / "unroll", "tune", "gru"]
    # Each process imports this file as it starts; the one that trains waits there until it has lost its parent.
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(WAIT_FOR_THE_KILL)
    places = [tmp_path / "site", *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(map(str, places))}
    del environment["MLFLOW_TRACKING_URI"]

    def started(folder, *options, **more):
        variables = {**environment, **more}
        return subprocess.Popen([*command, *options], cwd=folder, env=variables, text=True, stdout=subprocess.PIPE)

    with started(broken, WAITS_AFTER="trial 0  epoch 2 ") as first:
        for line in first.stdout:
            if "trial 0  epoch 2 " in line:
                os.kill(first.pid, signal.SIGKILL)
                break
        # The process that trains ends by itself, or its output would not end.
        rest = first.stdout.read()
    assert first.returncode == -signal.SIGKILL
    assert "epoch 3" not in rest

    outputs = {}
    for folder, options in ((broken, ["--resume"]), (whole, [])):
        process = started(folder, *options)
        outputs[folder] = process.communicate()[0].splitlines()
        assert process.returncode == 0
    # The killed trial is number 0; what is queued in its place is the next one.
    retried = [line for line in outputs[broken] if "trial 1  epoch " in line]
    assert min(int(line.split("  epoch ")[1].split()[0]) for line in retried) > 2
    found = {}
    for folder in (whole, broken):
        rows = trials_of(folder)
        assert len(rows) == 2
        found[folder] = [(row["metric"], row["last_epoch_metric"], row["epochs"]) for row in rows]
    assert found[whole][0] == found[broken][0]
    assert digest_of(whole / "data") == digest_of(broken / "data")
