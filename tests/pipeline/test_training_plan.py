"""What the training flow reckons with before it starts a stage, and what it shows at the end."""

import json
from pathlib import Path

import pytest

from pipelines import training
from unroll import paths
from unroll.files import digest_of

PARAMETERS = """
datasets: {own: {kind: digits, sources: [{kind: path, path: digits}]}}
tasks: {rows: {kind: digits, dataset: own}}
experiments:
  one: {task: rows, model: {kind: dense, units: [4]}, training: {epochs: 1, batch_size: 8, learning_rate: 0.1}}
  two: {task: rows, model: {kind: dense, units: [4]},
        training: {epochs: 1, batch_size: 8, learning_rate: 0.1, threads: 3}}
scoring: {model: models/one}
"""


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "bin").mkdir()
    paths.PARAMS.write_text(PARAMETERS)


def nvidia_smi(script: str) -> None:
    program = Path("bin/nvidia-smi")
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.mark.parametrize(("cores", "slots"), [(16, 5), (6, 2), (2, 1)])
def test_slots_are_cores_by_threads(cores: int, slots: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_cores", lambda: cores)
    assert training.slots_here() == slots


def test_one_slot_where_stages_would_share_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_cores", lambda: 16)
    nvidia_smi("echo 'GPU 0: Some Accelerator'")
    assert training.slots_here() == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert training.slots_here() == 5


def test_a_driver_without_a_gpu_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_cores", lambda: 16)
    nvidia_smi("echo 'No devices were found' >&2; exit 6")
    assert training.slots_here() == 5


def trained(experiment: str, seconds: float) -> None:
    """Weights, and how long they took."""
    paths.weights(experiment).mkdir(parents=True)
    (paths.weights(experiment) / "all-seed0.safetensors").write_bytes(b"weights")
    timing = {"seconds": seconds, "epochs": 4, "weights_sha256": digest_of(paths.weights(experiment))}
    paths.timing(experiment).write_text(json.dumps(timing))


def test_seconds_of_other_weights_are_not_shown() -> None:
    """DVC may have brought the weights of another training back; it does not track the times."""
    trained("one", 123.5)
    (paths.weights("one") / "all-seed0.safetensors").write_bytes(b"other weights")
    assert training.expected_seconds({"train@one": frozenset[str]()})["train@one"] == training.USUAL_SECONDS["train"]


def test_expects_what_the_last_training_took() -> None:
    trained("one", 123.5)
    graph = {"train@one": frozenset[str](), "train@two": frozenset[str](), "compare": frozenset({"train@one"})}

    expected = training.expected_seconds(graph)

    assert expected["train@one"] == 123.5
    assert expected["train@two"] == training.USUAL_SECONDS["train"]
    assert expected["compare"] == training.USUAL_SECONDS["compare"]


def test_shows_the_leaderboard_and_where_things_lie(capsys: pytest.CaptureFixture[str]) -> None:
    trained("one", 12.6)
    paths.LEADERBOARD.write_text(
        "experiment,task,metric,value,baseline,baseline_value,parity\n"
        "one,rows,accuracy,0.987600001,majority,0.1135,3e-07\n"
        "two,rows,accuracy,0.5,majority,0.1135,\n"
    )

    training.show(training.read_results())

    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert cells == [
        ["one", "rows", "accuracy", "0.9876", "majority", "0.1135", "3e-07", "13"],
        ["two", "rows", "accuracy", "0.5", "majority", "0.1135", "", ""],
    ]
    assert any("make ui" in line for line in lines)
    assert any("models/EXPERIMENT/bundle/" in line for line in lines)


def test_shows_nothing_before_the_first_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    training.show(training.read_results())
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("slots", ["0", "-1"])
def test_no_slots_are_refused(slots: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They would run nothing and call it done."""
    with pytest.raises(SystemExit):
        training.main(["--slots", slots])
    assert "--slots must be at least 1" in capsys.readouterr().err
