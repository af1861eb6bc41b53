"""What the code may not do, over the syntax trees; ruff's bandit rules (S in pyproject.toml) see most of it, too."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = sorted(path for place in ("src", "pipelines", "stack", "benchmarks") for path in (ROOT / place).rglob("*.py"))
EVERYTHING = [*CODE, *sorted((ROOT / "tests").rglob("*.py"))]
FORBIDDEN = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "tempfile.mktemp"}
UNPICKLING = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
MAY_UNPICKLE = {"src/unroll/domains/digits/dataset.py"}
"""The published digits are a pickle: read after their checksum, by an unpickler that lets in numpy arrays alone."""


def name_of(node: ast.expr) -> str:
    """`os.system` of the expression that says so."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Each call's name, and its options: constants, names as text, "" for anything else."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            options = {
                one.arg: one.value.value if isinstance(one.value, ast.Constant) else name_of(one.value)
                for one in node.keywords
                if one.arg
            }
            yield name_of(node.func), options


def modules(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(one.name.partition(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_from_outside_becomes_code(path: Path) -> None:
    for name, options in calls(path):
        assert name not in FORBIDDEN
        assert not options.get("shell")
        if name in ("np.load", "numpy.load"):
            assert options.get("allow_pickle") is False
        if name == "yaml.load":
            # By a loader that is a SafeLoader.
            assert path.name == "reading.py" or options.get("Loader") == "yaml.CSafeLoader"
    if str(path.relative_to(ROOT)) not in MAY_UNPICKLE:
        assert not modules(path) & UNPICKLING


def test_the_loader_of_parameters_is_a_safe_one() -> None:
    import yaml

    from unroll.config import reading

    assert issubclass(reading._UniqueKeys, yaml.SafeLoader)


def test_bandits_rules_are_on() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    ignored = [*lint["ignore"], *(code for codes in lint["per-file-ignores"].values() for code in codes)]
    # S603: every subprocess here is a list of arguments. S101 and S311: assert and chance, in tests and benchmarks.
    assert {code for code in ignored if re.match(r"S\d", code)} == {"S101", "S311", "S603"}


@pytest.mark.parametrize("path", EVERYTHING, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_exception_of_bandits_rules_says_why(path: Path) -> None:
    bare = re.findall(r"# noqa(?!: [A-Z]+[0-9]).*|# noqa: S\d+\b(?! -- \w).*", path.read_text())
    assert not [line for line in bare if path != Path(__file__)]


def test_servers_listen_on_loopback() -> None:
    """Those that are started on this machine; in compose.yaml, containers listen and loopback alone is published."""
    for path in [ROOT / "Makefile", *CODE]:
        assert "0.0.0.0" not in path.read_text()  # noqa: S104 -- it is looked for
    compose = (ROOT / "compose.yaml").read_text()
    published = re.findall(r"^\s*- \"([^\"]*:\d+:\d+)\"", compose, re.MULTILINE)
    assert published
    assert all(one.startswith("127.0.0.1:") for one in published)
