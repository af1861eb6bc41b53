"""A bundle in a new process."""

import os

import candidates
import numpy as np
import pytest
import tiny_bundles

from unroll.inference.bundle import load_bundle
from unroll.inference.sample_rows import sample_rows
from unroll.promotion.fresh import fresh_process

ROWS = {"inputs": candidates.samples(8).at(slice(20, 28))["inputs"]}


@pytest.fixture
def rows(tmp_path):
    return sample_rows(ROWS, np.arange(8), load_bundle(tiny_bundles.digits(tmp_path / "whole")).card)


def test_it_scores_without_torch(tmp_path, rows):
    gate = fresh_process(tmp_path / "whole", rows)
    assert gate.passed, gate.reason
    assert gate.reason.startswith("8 test rows")


def test_a_byte_that_was_flipped(tmp_path, rows):
    path = tmp_path / "whole/model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    gate = fresh_process(tmp_path / "whole", rows)
    assert not gate.passed
    assert "was altered" in gate.reason


def test_torch_would_be_noticed(tmp_path, rows, monkeypatch):
    """A stand-in by the name of torch, imported at the start of the new process."""
    (tmp_path / "site/torch").mkdir(parents=True)
    (tmp_path / "site/torch/__init__.py").write_text("")
    (tmp_path / "site/sitecustomize.py").write_text("import torch\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    gate = fresh_process(tmp_path / "whole", rows)
    assert not gate.passed
    assert "imported torch" in gate.reason


def test_a_process_that_does_not_end(tmp_path, rows):
    assert "within 0 s" in fresh_process(tmp_path / "whole", rows, seconds=0.01).reason
