"""Stage `train`: faults are reported before anything is computed, and a checkpoint is keyed by what dvc.yaml lists."""

import tomllib
from importlib.metadata import version

import pytest
import yaml

from unroll.errors import DataError, ParameterError
from unroll.stages import train

TRAINING = {"epochs": 1, "batch_size": 8, "learning_rate": 0.01, "device": "cpu"}
NO_VALIDATION = {"kind": "last_share", "test_share": 0.25, "valid_share": 0}


@pytest.fixture
def project(here, tiny):
    """Write parameters and samples of one experiment; there is no MLflow store, and none is needed."""

    def write(kind, training=None, **changes):
        model = {"kind": "recurrent", "layers": [{"cell": "gru", "units": 4}]}
        section = tiny.plain(kind, **changes)
        training = {**TRAINING, **(training or {})}
        experiment = {"domain": section["domain"], "task": "some", "model": model, "training": training}
        datasets = {section["dataset"]: {"domain": tiny.table_domain(kind)}}
        content = {"datasets": datasets, "tasks": {"some": section}, "experiments": {"mine": experiment}}
        (here / "params.yaml").write_text(yaml.safe_dump(content))
        tiny.samples(kind, **changes).save(here / "data/features/some")

    return write


@pytest.mark.parametrize(
    ("kind", "options", "keys"),
    [
        ("price", {"splits": NO_VALIDATION}, ["training.keep is best", "tasks.some"]),
        (
            "price",
            {"splits": NO_VALIDATION, "training": {"keep": "last", "patience": 2}},
            ["training.patience is 2", "tasks.some"],
        ),
        ("language_model", {"training": {"seeds": [0, 1]}}, ["training.seeds has 2 seeds"]),
        ("language_model", {"decoding": {"beams": 900}}, ["tasks.some.decoding.beams is 900"]),
    ],
)
def test_trainings_that_do_not_fit_the_task(project, kind, options, keys):
    project(kind, **options)
    with pytest.raises(ParameterError) as caught:
        train.run("mine")
    for key in keys:
        assert key in str(caught.value)


def test_missing_samples(here, project):
    project("price")
    (here / "data/features/some").rename(here / "data/features/other")
    with pytest.raises(DataError, match="unroll featurize some"):
        train.run("mine")


def test_checkpoints_depend_on_the_code_that_dvc_lists(root):
    deps = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]["train"]["do"]["deps"]
    code = {dep.removeprefix("src/unroll/") for dep in deps if dep.startswith("src/")}
    assert code == {part.replace("{domain}", "${item.domain}") for part in train.CODE}


def test_the_torch_version_that_trainings_depend_on_is_the_pinned_one(root):
    pinned = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["unroll"]["torch"]
    assert f"torch=={pinned}" in (root / "constraints.txt").read_text().splitlines()
    assert version("torch").partition("+")[0] == pinned
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    for name in ("train", "evaluate", "export"):
        assert {"pyproject.toml": ["tool.unroll.torch"]} in stages[name]["do"]["params"]
