"""The docs, the notebook and compose.yaml of the repository are true."""

import json
import re
import runpy
import subprocess
import sys
import tempfile

import pytest
import tiny_bundles

PAGES = ["README.md", "CONTRIBUTING.md", "docs", "data/README.md", "models/README.md"]


def test_options_are_those_of_the_configuration(root):
    found = runpy.run_path(str(root / "docs/generate_options.py"))
    assert (root / "docs/options.md").read_text(encoding="utf-8") == found["render"](), "run `make docs`"
    assert f"\n\n{found['forms']()}\n" in (root / "docs/data.md").read_text(encoding="utf-8"), "run `make docs`"


def pages(root):
    for name in PAGES:
        path = root / name
        yield from path.rglob("*.md") if path.is_dir() else [path]


def test_links_lead_to_files_and_headings(root):
    broken = []
    for page in pages(root):
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            path = (page.parent / name).resolve() if name else page
            if not path.exists() or (anchor and anchor not in headings(path.read_text(encoding="utf-8"))):
                broken.append(f"{page.name}: {target}")
    assert not broken


def headings(text):
    """Anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_cells_run_in_order(root, here, monkeypatch):
    notebook = json.loads((root / "docs/look-inside.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in cells), "clear the outputs before committing"
    monkeypatch.setattr(tempfile, "tempdir", str(here))
    names = {}
    for cell in cells:
        exec("".join(cell["source"]), names)  # noqa: S102 -- the code is the notebook of this repository
    assert names["accuracy"] > 0.95
    # Written backwards: each token is written while attention is on its mirror image.
    assert names["weights"].mean(0)[:6].argmax(1).tolist() == [5, 4, 3, 2, 1, 0]
    first = names["relative"].iloc[0]
    assert first["RNN, uniform"] < first["RNN, orthogonal"]
    assert first["LSTM, forget bias 0"] < first["LSTM, forget bias 1"]
    assert {path.name for path in names["pictures"].iterdir()} == {"attention.png", "gradients.png"}


HEAVY = {"torch", "mlflow", "prefect", "dvc", "great_expectations", "matplotlib", "sklearn", "onnx", "onnxscript"}
NUMERIC = {"numpy", "pyarrow", "pandas", "scipy", "onnxruntime"}
WITH_DECODING = {"predict", "translate", "generate"}
"""Their options are the fields of a pydantic model."""


def imported(code):
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split())


def run(*arguments):
    return imported(f"from unroll.cli import main\ntry:\n    main({list(arguments)})\nexcept SystemExit:\n    pass")


@pytest.mark.parametrize("command", [None, "train", "score", "models", "generate"])
def test_help(command):
    arguments = [command, "--help"] if command else ["--help"]
    assert not run(*arguments) & (HEAVY | NUMERIC | (set() if command in WITH_DECODING else {"pydantic"}))


def test_generate_needs_neither_torch_nor_the_like(here):
    tiny_bundles.writer(here / "models/words-lstm/bundle")
    assert not run("generate", "--prompt", "a b") & (HEAVY | {"scipy"})
