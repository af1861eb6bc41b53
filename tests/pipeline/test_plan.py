"""How the training flow is planned before it starts, and what it prints at the end."""

import json
import threading
from pathlib import Path

import pytest
import yaml
from flow_processes import ROOT

from pipelines import graph, run, summary, training
from pipelines.stages import Slots
from unroll import paths
from unroll.files import digest_of


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "bin").mkdir()
    parameters = yaml.safe_load((ROOT / "params.yaml").read_text())
    next(iter(parameters["experiments"].values()))["training"]["threads"] = 3
    paths.PARAMS.write_text(yaml.safe_dump(parameters, sort_keys=False))


@pytest.mark.parametrize(("cores", "slots"), [(16, 5), (2, 1)])
def test_slots_are_cores_by_threads(cores: int, slots: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_cores", lambda: cores)
    assert training.default_slots() == slots


@pytest.mark.parametrize(
    ("script", "devices", "slots"),
    [("echo 'GPU 0: Any'", None, 1), ("echo 'GPU 0: Any'", "", 5), ("echo 'No devices were found'; exit 6", None, 5)],
)
def test_one_slot_where_stages_would_share_a_gpu(
    script: str, devices: str | None, slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_cores", lambda: 16)
    if devices is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)
    program = Path("bin/nvidia-smi")
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    assert training.default_slots() == slots


@pytest.mark.parametrize("slots", ["0", "-1"])
def test_zero_slots_are_refused(slots: str) -> None:
    with pytest.raises(SystemExit):
        run.main(["--slots", slots])


def test_a_free_slot_goes_to_the_lowest_rank() -> None:
    slots = Slots(1)
    order: list[int] = []

    def stage(rank: int) -> None:
        with slots.take(rank):
            order.append(rank)

    threads = [threading.Thread(target=stage, args=(rank,)) for rank in (3, 1, 2)]
    with slots.take(0):
        for thread in threads:
            thread.start()
        while len(slots._waiting) < 3:
            pass
    for thread in threads:
        thread.join()
    assert order == [1, 2, 3]


def trained(experiment: str, seconds: float) -> None:
    """Write weights and how long their training took."""
    paths.weights(experiment).mkdir(parents=True)
    (paths.weights(experiment) / "all-seed0.safetensors").write_bytes(b"weights")
    timing = {"seconds": seconds, "epochs": 4, "weights_sha256": digest_of(paths.weights(experiment))}
    paths.timing(experiment).write_text(json.dumps(timing))


def test_the_longest_chain_comes_first() -> None:
    trained("long", 123.5)
    trained("replaced", 999.0)
    (paths.weights("replaced") / "all-seed0.safetensors").write_bytes(b"weights that DVC restored")
    upstream = {"ingest@a": (), "train@replaced": (), "ingest@b": (), "train@long": ("ingest@b",),
                "compare": ("train@replaced", "train@long")}  # fmt: skip
    stages = {stage: frozenset(names) for stage, names in upstream.items()}
    order = graph.longest_chain_first(stages, stages)
    assert order == ["ingest@b", "train@long", "train@replaced", "ingest@a", "compare"]
    assert graph.longest_chain_first(stages, {"compare", "train@long"}) == ["train@long", "compare"]


def test_prints_the_leaderboard_and_where_things_are(capsys: pytest.CaptureFixture[str]) -> None:
    summary.print_results(summary.read_leaderboard())
    assert capsys.readouterr().out == ""
    trained("one", 12.6)
    paths.LEADERBOARD.write_text(
        "experiment,task,metric,value,baseline,baseline_value,parity\n"
        "one,rows,accuracy,0.987600001,majority,0.1135,3e-07\n"
        "two,rows,accuracy,0.5,majority,0.1135,\n"
    )

    summary.print_results(summary.read_leaderboard())

    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert cells == [
        ["one", "rows", "accuracy", "0.9876", "majority", "0.1135", "3e-07", "13"],
        ["two", "rows", "accuracy", "0.5", "majority", "0.1135", "", ""],
    ]
    assert any("models/EXPERIMENT/bundle/" in line for line in lines)
