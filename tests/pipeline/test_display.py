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
from unroll.files import write_json


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths.PARAMS.write_text("experiments: {a: {}, b: {}}\n")


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


def test_on_a_terminal_results_come_above_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=160)
    monkeypatch.setattr(module, "Console", lambda: screen)
    result("a")
    result("b")
    shown = Display(["export@a", "train@b", "export@b"], lambda running: 60.0 * len(running))
    shown.started("export@a")
    shown.ended("export@a")
    shown.started("train@b")
    at = {"network": "", "epoch": 2, "epochs": 6, "step": 3, "steps": 9, "loss": "0.5", "steps_per_second": 11.0}
    write_json(paths.progress("b"), {**at, "seconds_left": 200.0})
    plain = Console(file=io.StringIO(), width=160)
    plain.print(shown._render())
    shown.close()
    text = plain.file.getvalue()  # type: ignore[attr-defined]
    assert "epoch 2/6  step 3/9  loss 0.5  11 steps/s  3 min left" in text
    assert "1 of 3 stages done, 1 running   about 60 s left" in text
    rows = [line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│")]
    # The other row is of an earlier run, and will be replaced.
    assert rows == ["a"]


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.2, 89, 100, 3900)] == ["0 s", "89 s", "2 min", "1 h 5 min"]


def test_estimates_are_measured_ones_of_the_last_run() -> None:
    first = Estimates()
    assert (first.of("train@new"), first.of("export@new")) == (60.0, 10.0)
    first.measured("train@new", 30.0)
    assert json.loads((paths.STATE / "seconds.json").read_text()) == {"train@new": 30.0}
    # This machine took half of what was expected: two slots share 5 + 5 seconds of work.
    to_end = {"export@new": 10.0, "export@other": 10.0}
    assert first.left({"export@new": 0.0}, {"export@other"}, to_end, 2) == 5.0
    # The longest chain is longer than that.
    to_end["export@new"] = 60.0
    assert first.left({"export@new": 4.0}, {"export@other"}, to_end, 2) == 26.0
    paths.STATE.joinpath("seconds.json").write_text("damaged")
    assert Estimates().of("train@new") == 60.0
    first.measured("export@new", 4.0)
    assert Estimates().of("export@new") == 4.0
