"""What the code may not do, over the syntax trees; ruff's bandit rules (S in pyproject.toml) see most of it, too."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = sorted(path for place in ("src", "pipelines", "benchmarks") for path in (ROOT / place).rglob("*.py"))
EVERYTHING = [*CODE, *sorted((ROOT / "tests").rglob("*.py"))]
FORBIDDEN = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "tempfile.mktemp"}
UNPICKLING = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
MAY_UNPICKLE = {"src/unroll/domains/digits/pickles.py"}
"""The published digits are a pickle: read after their checksum, by an unpickler that lets in numpy arrays alone."""


def name_of(node):
    """`os.system` of the expression that says so."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls(path):
    """Each call's name, and its options: constants, names as text, "" for anything else."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            options = {
                one.arg: one.value.value if isinstance(one.value, ast.Constant) else name_of(one.value)
                for one in node.keywords
                if one.arg
            }
            yield name_of(node.func), options


def modules(path):
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(one.name.partition(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_nothing_from_outside_becomes_code():
    found = [f"{path.relative_to(ROOT)}: {fault}" for path in CODE for fault in faults(path)]
    assert not found


def faults(path):
    """Calls and imports in a file that could run what it reads."""
    for name, options in calls(path):
        if name in FORBIDDEN or options.get("shell"):
            yield name
        if name in ("np.load", "numpy.load") and options.get("allow_pickle") is not False:
            yield name
        if name == "yaml.load" and options.get("Loader") != "yaml.CSafeLoader":
            yield name
        if name == "YAML" and options.get("typ") != "safe":
            yield name
    if str(path.relative_to(ROOT)) not in MAY_UNPICKLE:
        yield from modules(path) & UNPICKLING


def test_such_code_is_found(tmp_path):
    code = "import pickle\nos.system(x)\nrun(x, shell=True)\nnp.load(x)\nyaml.load(x)\nYAML()\nYAML(typ='safe')\n"
    path = tmp_path / "code.py"
    path.write_text(code)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "ROOT", tmp_path)
        assert sorted(faults(path)) == ["YAML", "np.load", "os.system", "pickle", "run", "yaml.load"]


def test_an_exception_of_bandits_rules_says_why():
    bare = re.compile(r"# noqa(?!: [A-Z]+[0-9]).*|# noqa: S\d+\b(?! -- \w).*")
    found = [
        f"{path}: {line}" for path in EVERYTHING if path != Path(__file__) for line in bare.findall(path.read_text())
    ]
    assert not found


def test_servers_listen_on_loopback():
    """Those that are started on this machine; in compose.yaml, containers listen and loopback alone is published."""
    for path in [ROOT / "Makefile", *CODE]:
        assert "0.0.0.0" not in path.read_text()  # noqa: S104 -- it is looked for
    compose = (ROOT / "compose.yaml").read_text()
    published = re.findall(r"^\s*- \"([^\"]*:\d+:\d+)\"", compose, re.MULTILINE)
    assert published
    assert all(one.startswith("127.0.0.1:") for one in published)
