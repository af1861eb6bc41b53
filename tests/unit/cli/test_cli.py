"""The command line: help, usage errors, exit codes, and what each command prints."""

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import tiny_bundles
import yaml

from unroll import __version__, cli
from unroll.cli.pipeline import STAGES
from unroll.errors import DataError, ServiceUnavailable, UnrollError

UNROLL = Path(sys.executable).parent / "unroll"
COMMANDS = {name: title for title, group in cli.GROUPS.items() for name in group}


def run(capsys, *arguments):
    """Exit code, standard output and standard error."""
    try:
        code = cli.main(arguments)
    except SystemExit as caught:
        code = caught.code
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_help_lists_every_command_in_its_group(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    title, listed = "", {}
    for line in out.splitlines():
        if line.removesuffix(":") in cli.GROUPS:
            title = line.removesuffix(":")
        elif line[:2] == "  " and line.split()[0] in COMMANDS:
            listed[line.split()[0]] = title
    assert listed == COMMANDS
    assert "params.yaml" in out
    assert "Exit codes: 0" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(capsys, command):
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    assert f"usage: unroll {command}" in out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["trian", "x"],
        ["train"],
        ["train", "a", "b"],
        ["predict", "--model", "x"],
        ["--nothing"],
        ["translate", "a", "--beams", "two"],
        ["classify", "a", "--beams", "2"],
        ["generate", "a"],
        ["models"],
        ["models", "promote", "digit-rows"],
    ],
)
def test_a_wrong_command_exits_2_with_the_usage(capsys, arguments):
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert "usage: unroll" in err


@pytest.mark.parametrize("stage", ["ingest", "compare"])
def test_without_parameters(capsys, here, stage):
    code, out, err = run(capsys, stage, *(["x"] if STAGES[stage][0] else []))
    assert (code, out) == (2, "")
    assert "params.yaml" in err
    assert len(err.splitlines()) == 1
    assert not list(here.iterdir())


@pytest.fixture
def project(here, tiny):
    """Parameters, and nothing else."""
    content = {
        "datasets": {
            "stock": {"domain": "prices", "sources": [{"kind": "path", "path": "prices.csv"}], "ticker": "X"},
        },
        "tasks": {"steps": tiny.plain("price")},
        "experiments": {
            "gru": {
                "domain": "prices",
                "task": "steps",
                "model": {"kind": "recurrent", "layers": [{"cell": "gru", "units": 4}]},
                "training": {"epochs": 1, "batch_size": 8, "learning_rate": 0.01},
            }
        },
        "scoring": {"model": "models/gru"},
    }
    (here / "params.yaml").write_text(yaml.safe_dump(content))
    return here


@pytest.mark.parametrize(
    ("stage", "section", "name"),
    [("ingest", "datasets", "stock"), ("featurize", "tasks", "steps"), ("train", "experiments", "gru")],
)
def test_a_name_that_is_not_in_params(capsys, project, stage, section, name):
    code, _, err = run(capsys, stage, "nothing")
    assert code == 2
    assert f"{section}.nothing" in err
    assert name in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("stage", "name", "before"),
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
def test_a_stage_without_its_inputs_names_the_command_to_run(capsys, project, stage, name, before):
    code, _, err = run(capsys, *([stage, name] if name else [stage]))
    assert code == 2
    assert before in err or "dvc repro" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnrollError("http://u:hunter2@host is wrong"), 2),
        (DataError("row \x1b[31m of http://u:hunter2@host"), 2),
        (ServiceUnavailable("http://u:hunter2@host does not answer"), 75),
        (ZeroDivisionError("http://u:hunter2@host"), 1),
    ],
)
def test_exit_codes(capsys, monkeypatch, project, error, code):
    """One line for what is expected to happen, a traceback for a bug, and no password in either."""
    from unroll.stages import validate

    def fail(name):
        raise error

    monkeypatch.setattr(validate, "run", fail)
    found, out, err = run(capsys, "validate", "stock")
    assert (found, out) == (code, "")
    assert "http://u:***@host" in err
    assert "hunter2" not in err
    assert "\x1b" not in err
    assert err.startswith("Traceback" if code == 1 else "unroll validate: ")
    assert code == 1 or len(err.splitlines()) == 1


def test_a_stage_gets_its_name(capsys, monkeypatch, project):
    from unroll.stages import compare, validate

    seen = []
    monkeypatch.setattr(validate, "run", seen.append)
    monkeypatch.setattr(compare, "run", seen.append)
    assert cli.main(["validate", "stock"]) == cli.main(["compare"]) == 0
    assert seen == ["stock", ""]


def test_predict_without_a_bundle(capsys, here):
    (here / "a.csv").write_text("text\n")
    code, _, err = run(capsys, "predict", "--model", "models/x", "--input", "a.csv", "--output", "out")
    assert code == 2
    assert "there is no bundle in models/x" in err


@pytest.mark.parametrize(("option", "value"), [("--threads", "0"), ("--batch-rows", "0"), ("--batch-rows", "-5")])
def test_predict_with_senseless_options(capsys, here, option, value):
    code, _, err = run(capsys, "predict", "--model", "m", "--input", "a", "--output", "o", option, value)
    assert code == 2
    assert err


def test_predict_reports_rows_that_were_set_aside_or_truncated(capsys, here):
    tiny_bundles.classifier(here / "model")
    (here / "t.csv").write_text("id,text\n1,a\n2,\n3,a b c d e f g\n")
    code, out, err = run(capsys, "predict", "--model", "model", "--input", "t.csv", "--output", "o")
    assert (code, err) == (0, "")
    assert out.splitlines()[:3] == [
        "t.csv: 2 rows in o/t.parquet",
        "t.csv: 1 rows quarantined in o/t.quarantine.parquet, first 2: the text has no tokens",
        "t.csv: 1 rows truncated to the length that the model reads",
    ]
    assert out.splitlines()[3].startswith("2 rows scored with tiny-text-class@")


def test_predict_takes_decoding_options(capsys, here):
    tiny_bundles.translator(here / "model")
    (here / "t.txt").write_text("a b c\n")
    options = ["--beams", "3", "--n-best", "2", "--max-length", "2", "--length-penalty", "0.5"]
    assert run(capsys, "predict", "--model", "model", "--input", "t.txt", "--output", "o", *options)[0] == 0
    (row,) = pq.read_table("o/t.parquet").to_pylist()
    assert row["n_best"] == [{"text": "a b", "score": 0.0}, {"text": "a b", "score": -0.5}]
    code, _, err = run(capsys, "predict", "--model", "model", "--input", "t.txt", "--output", "o", "--seed", "1")
    assert code == 2
    assert "leave out --seed" in err


def test_translate_prints_a_line_an_answer(capsys, here):
    tiny_bundles.translator(here / "models/translate-gru-attention/bundle")
    code, out, err = run(capsys, "translate", "a b", "--n-best", "2", "--beams", "4", "--length-penalty", "1.5")
    assert (code, out, err) == (0, "   0.0000  a b\n  -1.5000  a\n", "")


def test_generate_goes_on_with_a_prompt(capsys, here):
    tiny_bundles.writer(here / "models/words-lstm/bundle")
    options = [
        "--prompt",
        "a b",
        "--temperature",
        "0.5",
        "--top-k",
        "3",
        "--seed",
        "4",
        "--max-length",
        "2",
        "--n",
        "3",
    ]
    code, out, err = run(capsys, "generate", *options)
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert len(lines) == 3
    assert all(line[:3] == ["-17.0000", "a", "b"] and len(line) == 5 for line in lines)
    assert run(capsys, "generate", *options)[1] == out


def test_classify_prints_every_class(capsys, here):
    tiny_bundles.classifier(here / "models/reviews-bilstm/bundle")
    code, out, err = run(capsys, "classify", "b b zz b")
    assert code == 0
    assert [line.split()[1] for line in out.splitlines()] == ["low", "middle", "high"]
    assert err == "unroll classify: 1 of 4 tokens are unknown to the model\n"


@pytest.mark.parametrize(
    ("arguments", "experiment"),
    [(["translate", "a"], "translate-gru-attention"), (["classify", "a", "--model", "models/x/bundle"], "x")],
)
def test_a_missing_model_is_named_with_the_command_that_makes_it(capsys, here, arguments, experiment):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert f"`unroll export {experiment}`" in err
    assert len(err.splitlines()) == 1


def test_the_wrong_command_names_the_right_one(capsys, here):
    tiny_bundles.translator(here / "model")
    code, out, err = run(capsys, "classify", "a", "--model", "model")
    assert (code, out) == (2, "")
    assert "`unroll translate`" in err


@pytest.mark.parametrize("text", ["", "a b c d e f g"])
def test_a_text_that_does_not_fit(capsys, here, text):
    tiny_bundles.classifier(here / "model", truncation=False)
    code, _, err = run(capsys, "classify", text, "--model", "model")
    assert code == 2
    assert err.startswith("unroll classify: the text ")


@pytest.mark.parametrize("command", [[UNROLL], [sys.executable, "-m", "unroll.cli"]])
def test_as_a_process(command, here):
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, f"unroll {__version__}")
    done = subprocess.run([*command, "train", "nothing"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("unroll train: ")
    assert "Traceback" not in done.stderr
