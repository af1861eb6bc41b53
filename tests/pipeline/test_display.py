"""What a run shows, on a terminal and elsewhere, and how long it expects to take."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from pipelines import display as module
from pipelines.display import Display, duration
from pipelines.estimates import Estimates
from unroll import paths
from unroll.files import digest_of, write_json


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths.PARAMS.write_text("experiments: {a: {}, b: {}, c: {}, d: {}, e: {}}\n")


def result(experiment: str) -> None:
    write_json(paths.result(experiment), {"experiment": experiment, "task": "t", "metric": "accuracy", "value": 0.5})


def test_elsewhere_a_stage_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Display(["ingest@x", "train@a"], lambda running: 7.0)
    shown.started("ingest@x")
    shown.line("ingest@x", "looking")
    shown.line("ingest@x", "3 rows")
    shown.ended("ingest@x")
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.0)
    shown.started("train@a")
    shown.line("train@a", "epoch 1/2")
    shown.ended("train@a", failed=True)
    shown.close()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("[1/2] ingest@x: done in 0.")
    assert lines[0].endswith("   3 rows")
    assert lines[1] == "train@a | epoch 1/2"
    assert lines[2].startswith("[1/2] train@a: FAILED after 0.")
    assert lines[2].endswith("   epoch 1/2")


def test_on_a_terminal_results_come_above_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=160, height=12)
    monkeypatch.setattr(module, "Console", lambda: screen)
    monkeypatch.setattr(module, "on_terminal", lambda: True)
    stages = ["export@a", "train@b", "export@b", "export@c", "export@d", "export@e"]
    for stage in stages:
        result(stage[-1])
    shown = Display(stages, lambda running: 60.0 * len(running))

    def view() -> str:
        plain = Console(file=io.StringIO(), width=160)
        plain.print(shown._render())
        return plain.file.getvalue()  # type: ignore[attr-defined,no-any-return]

    def rows() -> list[str]:
        return [line.split("│")[1].strip() for line in view().splitlines() if line.startswith("│")]

    # The rows of an earlier run will be replaced.
    assert rows() == []
    shown.started("export@a")
    shown.ended("export@a")
    shown.started("train@b")
    at = {"network": "", "epoch": 2, "epochs": 6, "step": 3, "steps": 9, "loss": "0.5", "steps_per_second": 11.0}
    write_json(paths.progress("b"), {**at, "seconds_left": 200.0})
    assert "epoch 2/6  step 3/9  loss 0.5  11 steps/s  3 min left" in view()
    assert "1 of 6 stages done, 1 running   about 60 s left" in view()
    assert rows() == ["a"]
    # The screen has room for four: the newest.
    paths.result("c").unlink()
    for name in ("e", "d", "c", "b"):
        shown.started(f"export@{name}")
        shown.ended(f"export@{name}", failed=name == "b")
    assert rows() == ["a", "e", "d"]
    assert "export@b: FAILED" in screen.file.getvalue()  # type: ignore[attr-defined]
    assert "4 of 6 stages done, 1 failed, 1 running" in view()
    shown.started("export@b")
    shown.ended("export@b")
    assert rows() == ["a", "e", "d", "b"]
    shown.started("export@c")
    result("c")
    shown.ended("export@c")
    assert rows() == ["e", "d", "b", "c"]
    shown.close()


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.2, 89, 100, 3900)] == ["0 s", "89 s", "2 min", "1 h 5 min"]


def test_estimates_are_measured_ones_of_the_last_run() -> None:
    first = Estimates()
    assert (first.of("train@new"), first.of("export@new")) == (60.0, 10.0)
    first.measured("featurize@new", 5.0)
    assert json.loads((paths.STATE / "seconds.json").read_text()) == {"featurize@new": 5.0}
    # This machine took half of what was expected: two slots share 5 + 5 seconds of work.
    to_end = {"export@new": 10.0, "export@other": 10.0}
    assert first.left({"export@new": 0.0}, {"export@other"}, to_end, 2) == 5.0
    # The longest chain is longer than that.
    to_end["export@new"] = 60.0
    assert first.left({"export@new": 4.0}, {"export@other"}, to_end, 2) == 26.0
    paths.STATE.joinpath("seconds.json").write_text("damaged")
    assert Estimates().of("featurize@new") == 10.0
    first.measured("export@new", 4.0)
    assert Estimates().of("export@new") == 4.0


def test_a_training_that_dvc_restored_or_that_was_resumed_keeps_its_estimate() -> None:
    estimates = Estimates()
    estimates.measured("train@a", 2.0)
    assert Estimates().of("train@a") == 60.0
    paths.weights("a").mkdir(parents=True)
    (paths.weights("a") / "all-seed0.safetensors").write_bytes(b"weights")
    write_json(paths.timing("a"), {"seconds": 90.0, "weights_sha256": digest_of(paths.weights("a"))})
    estimates.measured("train@a", 20.0)
    assert Estimates().of("train@a") == 90.0
