"""What the tests of faults share."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_bundles
import yaml
from inboxes import Inbox
from safetensors.numpy import save_file


@pytest.fixture
def small_project(tiny: Any, tmp_path: Path) -> Path:
    """Parameters, features and baselines of one small experiment, `lstm`, of five epochs."""
    model = {"kind": "recurrent", "layers": [{"cell": "lstm", "units": 16}] * 2}
    training = {"epochs": 5, "batch_size": 2, "learning_rate": 0.002}
    content = tiny.parameters("price", "lstm", model=model, training=training)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    samples = tiny.samples("price")
    samples.save(tmp_path / "data/features/steps")
    found = tiny.task("price").metrics.baselines(samples)
    (tmp_path / "data/baselines/steps").mkdir(parents=True)
    contiguous = {key: np.ascontiguousarray(value) for key, value in found.items()}
    save_file(contiguous, tmp_path / "data/baselines/steps/predictions.safetensors")
    return tmp_path


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    """An empty one on this machine, with a bundle that scores digits."""
    tiny_bundles.digits(tmp_path / "bundle")
    (tmp_path / "inbox").mkdir()
    return Inbox(tmp_path)
