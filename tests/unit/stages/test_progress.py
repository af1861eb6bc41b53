"""How far training is: in a file every second, on the terminal every half minute."""

import json

import torch

from unroll.stages import progress
from unroll.stages.progress import StepReporter


def test_a_file_every_second_and_a_line_every_half_minute(tmp_path, monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    path = tmp_path / "progress.json"
    reporter = StepReporter("mine", path, epochs=3, networks=2)
    reporter.next_network("seed 0  ")
    reporter.step(0, 0, 10, torch.tensor(2.0))
    assert not path.exists()
    now[0] += 2
    reporter.step(0, 1, 10, torch.tensor(float("nan")))
    expected = {"network": "seed 0  ", "epoch": 1, "epochs": 3, "step": 2, "steps": 10, "loss": "nan"}
    # A step since the first one took two seconds; 28 of this network and 30 of the other are left.
    assert json.loads(path.read_text()) == expected | {"steps_per_second": 0.5, "seconds_left": 116.0}
    assert capsys.readouterr().out == ""
    now[0] += 26
    reporter.step(1, 0, 10, torch.tensor(0.25))
    assert capsys.readouterr().out.startswith("mine  seed 0  epoch 2/3  step 1/10  loss 0.25  0.0714 steps/s")
    now[0] += 26
    reporter.printed()
    reporter.step(1, 1, 10, torch.tensor(0.25))
    assert capsys.readouterr().out == ""
