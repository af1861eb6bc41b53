"""What commands really import. `lint-imports` holds the directions of imports; see [tool.importlinter]."""

import subprocess
import sys

import pytest
import tiny_bundles

from unroll import cli

HEAVY = {"torch", "mlflow", "prefect", "dvc", "great_expectations", "matplotlib", "sklearn", "onnx", "onnxscript"}
NUMERIC = {"numpy", "pyarrow", "pandas", "scipy", "onnxruntime"}
WITH_DECODING = {"predict", "translate", "generate"}
"""Their options are the fields of a pydantic model."""


def imported(code):
    """Top-level packages that a new Python has imported after running some code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split())


def run(*arguments):
    """Packages that a command has imported when it ends."""
    return imported(f"from unroll.cli import main\ntry:\n    main({list(arguments)})\nexcept SystemExit:\n    pass")


@pytest.mark.parametrize("command", [None, "train", "score", "models", "generate"])
def test_help(command):
    arguments = [command, "--help"] if command else ["--help"]
    assert not run(*arguments) & (HEAVY | NUMERIC | (set() if command in WITH_DECODING else {"pydantic"}))


def test_every_command_with_decoding_options_is_known():
    assert set(cli.GROUPS["use a model"]) - {"classify"} == WITH_DECODING


def test_generate_needs_neither_torch_nor_the_like(here):
    tiny_bundles.writer(here / "models/words-lstm/bundle")
    assert not run("generate", "--prompt", "a b") & (HEAVY | {"scipy"})


def test_scoring_needs_neither_torch_nor_the_like():
    assert not imported("import unroll.scoring.job, unroll.inference.file_scorer") & HEAVY
