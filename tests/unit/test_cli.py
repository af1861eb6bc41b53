"""The command line: what it says, and its exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from unroll import __version__, cli, paths
from unroll.errors import DataError, UnrollError

UNROLL = Path(sys.executable).parent / "unroll"


def run(capsys, *arguments):
    code = cli.main(arguments)
    said = capsys.readouterr()
    return code, said.out, said.err


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    said = capsys.readouterr()
    return caught.value.code, said.out, said.err


def test_help_tells_every_verb(capsys):
    code, out, _ = refused(capsys, "--help")
    assert code == 0
    for verb in (*cli.STAGES, "compare", "predict", "score"):
        assert any(line.split()[:1] == [verb] for line in out.splitlines())
    assert "params.yaml" in out
    assert "Exit codes: 0" in out


@pytest.mark.parametrize("verb", [*cli.STAGES, "predict", "score", "compare"])
def test_every_verb_has_help(capsys, verb):
    code, out, _ = refused(capsys, verb, "--help")
    assert code == 0
    assert f"unroll {verb}" in out


def test_version(capsys):
    assert refused(capsys, "--version")[1].strip() == f"unroll {__version__}"


@pytest.mark.parametrize(
    "arguments",
    [[], ["trian", "x"], ["train"], ["train", "a", "b"], ["predict"], ["predict", "--model", "x"], ["--nothing"]],
)
def test_a_wrong_command_exits_2_with_the_usage(capsys, arguments):
    code, _, err = refused(capsys, *arguments)
    assert code == 2
    assert "usage: unroll" in err


@pytest.mark.parametrize("verb", cli.STAGES)
def test_without_parameters(capsys, here, verb):
    code, out, err = run(capsys, verb, "x")
    assert code == 2
    assert err == f"unroll {verb}: params.yaml is not here; run unroll in the repository's root\n"
    assert not out
    assert not list(here.iterdir())


@pytest.fixture
def project(here, tiny):
    """Parameters, and nothing else."""
    content = {
        "datasets": {
            "stock": {"kind": "prices", "sources": [{"kind": "path", "path": "prices.csv"}], "ticker": "X"},
        },
        "tasks": {"steps": tiny.plain("price")},
        "experiments": {
            "gru": {
                "task": "steps",
                "model": {"kind": "recurrent", "layers": [{"cell": "gru", "units": 4}]},
                "training": {"epochs": 1, "batch_size": 8, "learning_rate": 0.01},
            }
        },
        "scoring": {"experiment": "gru"},
    }
    (here / "params.yaml").write_text(yaml.safe_dump(content))
    return here


@pytest.mark.parametrize("verb", cli.STAGES)
def test_a_name_that_is_not_there(capsys, project, verb):
    code, _, err = run(capsys, verb, "nothing")
    assert code == 2
    section, name = {
        "DATASET": ("datasets", "stock"),
        "TASK": ("tasks", "steps"),
        "EXPERIMENT": ("experiments", "gru"),
    }[cli.STAGES[verb][0]]
    assert f"there is no {section}.nothing; {section} has: {name}" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("verb", "name", "before"),
    [
        ("validate", "stock", "unroll ingest stock"),
        ("featurize", "steps", "unroll validate stock"),
        ("baseline", "steps", "unroll featurize steps"),
        ("train", "gru", "unroll featurize steps"),
        ("evaluate", "gru", "unroll train gru"),
        ("export", "gru", "unroll train gru"),
        ("compare", None, "unroll export gru"),
    ],
)
def test_a_stage_whose_inputs_are_not_there_says_what_to_run(capsys, project, verb, name, before):
    code, _, err = run(capsys, *([verb, name] if name else [verb]))
    assert code == 2
    assert before in err or "dvc repro" in err


def test_unknown_faults_keep_their_traceback(monkeypatch, project):
    from unroll.stages import validate

    monkeypatch.setattr(validate, "run", lambda name: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["validate", "stock"])


@pytest.mark.parametrize("error", [UnrollError, DataError])
def test_our_errors_are_one_line_and_exit_2(capsys, monkeypatch, project, error):
    from unroll.stages import validate

    def fail(name):
        raise error(f"{name} is wrong")

    monkeypatch.setattr(validate, "run", fail)
    assert run(capsys, "validate", "stock") == (2, "", "unroll validate: stock is wrong\n")


def test_a_stage_gets_its_name(capsys, monkeypatch, project):
    from unroll.stages import compare, validate

    seen = []
    monkeypatch.setattr(validate, "run", seen.append)
    monkeypatch.setattr(compare, "run", seen.append)
    assert cli.main(["validate", "stock"]) == cli.main(["compare"]) == 0
    assert seen == ["stock", ""]


def test_predict_without_a_bundle(capsys, here):
    code, _, err = run(capsys, "predict", "--model", "models/x", "--input", "a.csv", "--output", "out")
    assert code == 2
    assert "there is no bundle in models/x" in err


@pytest.mark.parametrize(("option", "value"), [("--threads", "0"), ("--batch-rows", "0"), ("--batch-rows", "-5")])
def test_predict_with_senseless_options(capsys, here, option, value):
    code, _, err = run(capsys, "predict", "--model", "m", "--input", "a", "--output", "o", option, value)
    assert code == 2
    assert err


def test_the_installed_command():
    done = subprocess.run([UNROLL, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, f"unroll {__version__}")


def test_the_installed_commands_exit_codes(project):
    done = subprocess.run([UNROLL, "train", "nothing"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("unroll train: ")
    assert "Traceback" not in done.stderr


def test_paths_stay_apart():
    """No artifact of an experiment is another's, and run-time state is no result."""
    makers = (paths.weights, paths.history, paths.evaluation, paths.plots, paths.bundle, paths.parity, paths.timing)
    makers += (paths.provenance, paths.result, paths.checkpoints)
    places = [make(name) for make in makers for name in ("a", "b")]
    assert len(set(places)) == len(places)
    assert paths.STATE in paths.checkpoints("a").parents
    assert all(not place.is_absolute() for place in places)
