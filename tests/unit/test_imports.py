"""Imports run one way: held over the syntax trees, and once by really importing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "unroll"
MODULES = {
    "unroll"
    + "".join(f".{part}" for part in path.relative_to(SOURCE).with_suffix("").parts if part != "__init__"): path
    for path in sorted(SOURCE.rglob("*.py"))
}
HEAVY = {"torch", "mlflow", "prefect", "dvc", "great_expectations", "matplotlib", "sklearn", "scipy", "onnx"}


def imports(path, *, types=False, late=True):
    """Names of all modules that a file imports; those for type checkers and those within functions on demand."""
    found = set()

    def look(nodes):
        for node in nodes:
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not types:
                look(node.orelse)
                continue
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not late:
                continue
            if isinstance(node, ast.Import):
                found.update(one.name for one in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: a relative import"
                for one in node.names:
                    inner = f"{node.module}.{one.name}"
                    found.add(inner if inner in MODULES else node.module)
            look(ast.iter_child_nodes(node))

    look(ast.parse(path.read_text()).body)
    return found


def area(module):
    """`unroll.models.preprocessing` → `models`; `unroll.config` → `params`."""
    return module.split(".")[1] if "." in module else ""


LOW = {"config", "errors", "paths", "files", "redaction"}
DATA = {"features", "metrics", "plotting", "sources", "validation", "domains"} | LOW
MAY = {
    "redaction": set(),
    "errors": {"redaction"},
    "paths": set(),
    "files": {"errors"},
    "config": {"config", "errors", "paths"},
    "models": {"models", "features"},
    "features": {"features", "domains", "sources"} | LOW,
    "metrics": {"metrics", "domains", "features", "models"} | LOW,
    "plotting": {"plotting", "features", "metrics", "models"} | LOW,
    "sources": {"sources"} | LOW,
    "validation": {"validation", "features", "domains"} | LOW,
    "domains": {"models", "inference"} | DATA,
    "evaluation": {"evaluation", "models", "training"} | DATA,
    "training": {"training", "evaluation", "models"} | DATA,
    "export": {"export", "training", "inference", "models"} | DATA,
    "inference": {"inference"} | DATA,
    "tracking": {"tracking", "inference"} | LOW,
    "promotion": {"promotion", "tracking", "export", "inference", "evaluation"} | DATA,
    "stages": {"stages", "training", "evaluation", "export", "inference", "tracking", "models"} | DATA,
    "scoring": {"scoring", "inference", "tracking"} | DATA,
    "cli": {"cli", "stages", "promotion", "scoring", "tracking", "inference", ""} | DATA,
    "": {""},
}


def test_every_area_has_a_rule():
    assert {area(module) for module in MODULES} == set(MAY)


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module):
    allowed = MAY[area(module)]
    wrong = [
        name
        for name in imports(MODULES[module], types=True)
        if name.partition(".")[0] == "unroll" and area(name) not in allowed
    ]
    # The key of a training is made of all of the package's code.
    if module == "unroll.stages.train":
        wrong = [name for name in wrong if name != "unroll"]
    assert not wrong


@pytest.mark.parametrize("module", [module for module in MODULES if area(module) == "models"])
def test_models_import_torch_alone(module):
    outside = {name.partition(".")[0] for name in imports(MODULES[module], types=True)} - {"unroll", "torch"}
    assert outside <= set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    ("package", "areas"),
    [
        ("mlflow", {"tracking"}),
        ("prefect", set()),
        ("dvc", set()),
        ("great_expectations", {"validation", "scoring"}),
        ("onnx", {"export", "tracking"}),
        ("onnxscript", {"export"}),
        ("onnxruntime", {"export", "inference"}),
        ("matplotlib", {"plotting"}),
        ("sklearn", {"domains", "metrics", "features", "scoring"}),
        ("scipy", {"domains", "metrics", "evaluation"}),
        ("torch", {"models", "domains", "metrics", "plotting", "evaluation", "training", "export", "stages"}),
        ("pydantic", {"config", "inference", "tracking"}),
        ("yaml", {"config", "tracking"}),
        ("requests", {"sources", "tracking"}),
        ("pickle", {"domains"}),
        ("tokenizers", {"features"}),
        ("sacrebleu", {"domains", "metrics", "scoring"}),
        ("symusic", {"domains"}),
    ],
)
def test_a_package_is_imported_by_its_owner_alone(package, areas):
    users = {
        area(module)
        for module, path in MODULES.items()
        if package in {name.partition(".")[0] for name in imports(path, types=True)}
    }
    assert users <= areas


@pytest.mark.parametrize(
    ("package", "late"), [(name, True) for name in ("great_expectations", "mlflow", "matplotlib", "sklearn", "scipy")]
)
def test_heavy_packages_are_imported_late(package, late):
    """Where they are used, so that a stage that does not use them does not wait for them."""
    assert late
    users = [
        module
        for module, path in MODULES.items()
        if package in {name.partition(".")[0] for name in imports(path, late=False)}
    ]
    assert not users


def reached(module):
    """Every module of ours that importing `module` can come to, late imports included."""
    seen, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name in seen or name not in MODULES:
            continue
        seen.add(name)
        parts = name.split(".")
        waiting += [".".join(parts[:length]) for length in range(1, len(parts))]
        waiting += imports(MODULES[name])
    return seen


@pytest.mark.parametrize("module", [module for module in MODULES if area(module) == "inference"])
def test_scoring_never_comes_to_torch_or_its_like(module):
    packages = {name.partition(".")[0] for inner in reached(module) for name in imports(MODULES[inner])}
    assert not packages & {"torch", "mlflow", "prefect", "dvc", "onnx", "onnxscript", "great_expectations"}


def loaded(code):
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("module", ["unroll.inference.scorer", "unroll.scoring.job", "unroll.cli"])
def test_what_is_really_imported(module):
    heavy = HEAVY - ({"scipy"} if module != "unroll.cli" else set())
    assert not loaded(f"import {module}") & heavy


def test_help_imports_next_to_nothing():
    code = "from unroll.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass"
    assert not loaded(code) & (HEAVY | {"onnxruntime", "pandas", "pyarrow"})
