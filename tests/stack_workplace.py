"""A small copy of the project, as a team has it: its code, flows and graph, with one task that is learnt in seconds."""

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[1]
TASK = "digit-rows"
MODEL = f"models:/{TASK}@champion"
STORE = "s3://unroll"
SCORE_SECONDS = 15
"""Between two scheduled scorings; prefect.yaml has a quarter of an hour."""


def make(path: Path, tiny: Any) -> Path:
    """Makes the workplace, under git, with its data."""
    path.mkdir()
    for name in ("src", "pipelines"):
        shutil.copytree(ROOT / name, path / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("dvc.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, path / name)
    (path / "params.yaml").write_text(yaml.safe_dump(_parameters(tiny), sort_keys=False))
    (path / "prefect.yaml").write_text(yaml.safe_dump(_deployments(), sort_keys=False))
    _write_digits(path / "data/own/digits", tiny.digits(train=1000, test=400))
    run(path, os.environ, "git", "init", "--quiet")
    run(path, os.environ, "dvc", "init", "--quiet")
    shutil.copy(ROOT / ".dvc/config", path / ".dvc/config")
    run(path, os.environ, "git", "add", "--all")
    who = ("-c", "user.name=Tester", "-c", "user.email=tester@example.com")
    run(path, os.environ, "git", *who, "commit", "--quiet", "--message", "A workplace")
    return path


def run(path: Path, environment: Mapping[str, str], *command: str) -> str:
    """A command in the workplace; gives what it said."""
    programs = str(Path(sys.executable).parent)
    mine = {name: value for name, value in environment.items() if not name.startswith("GIT_")}
    mine |= {"PATH": os.pathsep.join([programs, os.environ["PATH"]]), "DVC_NO_ANALYTICS": "1"}
    mine["PYTHONPATH"] = str(path / "src")
    done = subprocess.run(command, cwd=path, env=mine, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _parameters(tiny: Any) -> dict[str, Any]:
    def experiment(cell: str, units: int, epochs: int) -> dict[str, Any]:
        return {
            "task": TASK,
            "model": {"kind": "recurrent", "layers": [{"cell": cell, "units": units}]},
            "training": {"epochs": epochs, "batch_size": 32, "learning_rate": 0.01, "device": "cpu"},
        }

    return {
        "datasets": {"made": {"domain": "digits", "sources": [{"kind": "path", "path": "data/own/digits"}]}},
        "tasks": {TASK: tiny.plain("digits", dataset="made", valid_rows=100)},
        "experiments": {"large": experiment("gru", 32, 8), "small": experiment("gru", 16, 8)},
        "scoring": {
            "model": MODEL,
            "input": f"{STORE}/inbox",
            "output": f"{STORE}/predictions",
            "quarantine": f"{STORE}/quarantine",
            "settle_seconds": 0.0,
        },
    }


def _deployments() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    train, score = content["deployments"]
    # The test starts the training; only the clock starts a scoring.
    train["schedules"] = []
    score["schedules"] = [{"interval": SCORE_SECONDS}]
    return content


def _write_digits(folder: Path, table: Any) -> None:
    folder.mkdir(parents=True)
    for split, name in (("train", "train"), ("test", "t10k")):
        rows = table.filter(np.array(table["split"].to_pylist()) == split)
        count = rows.num_rows
        pixels = rows["pixels"].combine_chunks().flatten().to_numpy().tobytes()
        (folder / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, count, 28, 28) + pixels)
        labels = rows["label"].to_numpy().tobytes()
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, count) + labels)
