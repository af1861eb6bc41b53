"""The command line: help, usage errors, exit codes, and what each command prints; unroll score as a process."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import tiny_bundles
import yaml
from inboxes import Inbox

from unroll import __version__, cli
from unroll.cli import use
from unroll.config.decoding import DecodingConfig
from unroll.errors import UNAVAILABLE_EXIT, DataError, ServiceUnavailable, UnrollError

UNROLL = Path(sys.executable).parent / "unroll"
COMMANDS = {name: title for title, group in cli.GROUPS.items() for name in group}


HEAVY = {"torch", "mlflow", "prefect", "dvc", "great_expectations", "matplotlib", "sklearn", "scipy", "onnx"}
CODE = """
import sys
from unroll.cli import main
code = main(sys.argv[1:])
print(*{name.partition(".")[0] for name in sys.modules})
sys.exit(code)
"""


def process(*arguments, **environment):
    """Exit code, lines, imported packages, and what came on standard error, of the command in a new process."""
    command = [sys.executable, "-c", CODE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **environment)
    *lines, imported = done.stdout.splitlines()
    return done.returncode, lines, set(imported.split()), done.stderr


def run(capsys, *arguments):
    try:
        code = cli.main(arguments)
    except SystemExit as caught:
        code = caught.code
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(capsys, command):
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    assert f"usage: unroll {command}" in out


def test_help_needs_no_library(here):
    """An import that help needs delays every completion and every look at an option."""
    code = "import sys; from unroll.cli import build_parser; "
    code += f"[build_parser(one) for one in {[*COMMANDS]}]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pydantic", "numpy", "pyarrow", "pandas", "yaml", "ruamel.yaml"} & set(done.stdout.split())


def test_every_decoding_setting_is_an_option():
    numbers = {name: field.annotation for name, field in DecodingConfig.model_fields.items()}
    assert {name: number for name, (number, _) in use.DECODING.items()} == numbers


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["trian", "x"],
        ["train"],
        ["predict", "--model", "x"],
        ["classify", "a", "--beams", "2"],
        ["models", "promote", "digit-rows"],
    ],
)
def test_a_wrong_command_exits_2_with_the_usage(capsys, arguments):
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert "usage: unroll" in err


@pytest.fixture
def project(here, tiny):
    """Parameters, and nothing else."""
    (here / "params.yaml").write_text(yaml.safe_dump(tiny.parameters("price", "gru")))
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
    tiny_bundles.translator(here / "models/translate-lstm-attention/bundle")
    code, out, err = run(capsys, "translate", "a b", "--n-best", "2", "--beams", "4", "--length-penalty", "1.5")
    assert (code, out, err) == (0, "   0.0000  a b\n  -1.5000  a\n", "")


def test_generate_goes_on_with_a_prompt(capsys, here):
    tiny_bundles.writer(here / "models/words-lstm/bundle")
    options = ["--prompt", "a b", "--temperature", "0.5", "--top-k", "3", "--seed", "4"]
    options += ["--max-length", "2", "--n", "3"]
    code, out, err = run(capsys, "generate", *options)
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert len(lines) == 3
    assert all(line[:3] == ["-17.0000", "a", "b"] and len(line) == 5 for line in lines)
    assert run(capsys, "generate", *options)[1] == out
    _, lines, imported, _ = process("generate", *options)
    assert "\n".join(lines) + "\n" == out
    assert not imported & HEAVY


def test_classify_prints_every_class(capsys, here):
    tiny_bundles.classifier(here / "models/reviews-bilstm/bundle")
    code, out, err = run(capsys, "classify", "b b zz b")
    assert code == 0
    assert [line.split()[1] for line in out.splitlines()] == ["low", "middle", "high"]
    assert err == "unroll classify: 1 of 4 tokens are unknown to the model\n"


@pytest.mark.parametrize("command", [[UNROLL], [sys.executable, "-m", "unroll.cli"]])
def test_as_a_process(command, here):
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, f"unroll {__version__}")
    done = subprocess.run([*command, "train", "nothing"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("unroll train: ")
    assert "Traceback" not in done.stderr


def test_in_another_tree_the_code_of_that_tree_runs(root, here):
    shutil.copytree(root / "src", here / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (here / "src/unroll/stages/ingest.py").write_text("def run(name):\n    print(__file__)\n")
    done = subprocess.run([UNROLL, "ingest", "mnist"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, str(here / "src/unroll/stages/ingest.py")), done.stderr


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["train", "nö-such"], 2), (["classify", "á…"], 2)])
def test_a_terminal_that_cannot_show_a_character_gets_its_number(here, arguments, code):
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "unroll.cli", *arguments]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == code
    printed = (done.stdout + done.stderr).decode("ascii")
    assert "Traceback" not in printed
    assert "\\u2026" in printed or code


@pytest.fixture
def inbox(root, own_store):
    here = own_store
    parameters = yaml.safe_load((root / "params.yaml").read_text())
    parameters["scoring"] |= {"model": "bundle", "settle_seconds": 0.0}
    parameters["scoring"] |= {name: name for name in ("quarantine",)} | {"input": "inbox", "output": "predictions"}
    (here / "params.yaml").write_text(yaml.safe_dump(parameters))
    tiny_bundles.digits(here / "bundle")
    (here / "inbox").mkdir()
    return Inbox(here)


def score(*options, **environment):
    return process("score", *options, **environment)


def test_what_is_new_is_scored_and_then_known(inbox):
    inbox.put("a.parquet", 5)
    code, lines, imported, _ = score()
    assert (code, lines[0]) == (0, "a.parquet: scored: 5 rows in predictions/a.parquet.parquet")
    assert "1 files scored with tiny-digits@" in lines[1]
    assert "onnxruntime" in imported
    assert not imported & HEAVY
    code, (line,), imported, _ = score()
    assert (code, "1 scored before" in line) == (0, True)
    assert not imported & (HEAVY | {"onnxruntime", "pyarrow", "pandas", "numpy"})


def test_options_replace_parameters(inbox):
    inbox.put("a.parquet", 5)
    assert score("--model", "bundle", "--input", "inbox", "--output", "out", "--quarantine", "bad")[0] == 0
    assert (inbox.root / "out/a.parquet.parquet").exists()


def test_rescore_replaces_the_predictions_of_another_model(inbox):
    inbox.put("a.parquet", 5)
    inbox.score()
    tiny_bundles.digits(inbox.root / "other", "other")
    code, lines, _, _ = score("--model", "other", "--rescore", "--since", "2020-01-01")
    assert (code, lines[0]) == (0, "a.parquet: scored: 5 rows in predictions/a.parquet.parquet")
    ((version,),) = inbox.versions().values()
    assert version.startswith("other@")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--model", "nothing"), 2),
        (("--since", "2026-11-01"), 2),
        (("--shadow",), 2),
        (("--output", "inbox/predictions"), 2),
        pytest.param(("--model", "models:/digit-rows@champion"), 2, marks=pytest.mark.slow),
        (("--input", "s3://unroll/inbox"), UNAVAILABLE_EXIT),
    ],
)
def test_errors_are_one_line_and_an_exit_code(inbox, monkeypatch, options, expected):
    inbox.put("a.parquet", 5)
    away = {"ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "y", "ENDPOINT_URL": "http://127.0.0.1:1", "MAX_ATTEMPTS": "1"}
    for name, value in away.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    code, _, _, error = score(*options)
    assert code == expected
    assert error.startswith("unroll score: ")
    assert len(error.splitlines()) == 1
    assert inbox.files("predictions") == {}
