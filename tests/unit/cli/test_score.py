"""`unroll score` as a process: what it prints, imports and returns."""

import subprocess
import sys

import pytest
import tiny_bundles
import yaml
from inboxes import Inbox

from unroll.errors import UNAVAILABLE_EXIT

HEAVY = {"torch", "mlflow", "prefect", "dvc", "great_expectations", "matplotlib", "sklearn", "scipy", "onnx"}
CODE = """
import sys
from unroll.cli import main
code = main(sys.argv[1:])
print(*{name.partition(".")[0] for name in sys.modules})
sys.exit(code)
"""


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
    """Exit code, lines, imported packages, and what came on standard error."""
    command = [sys.executable, "-c", CODE, "score", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **environment)
    *lines, imported = done.stdout.splitlines()
    return done.returncode, lines, set(imported.split()), done.stderr


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


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--model", "nothing"), 2),
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
