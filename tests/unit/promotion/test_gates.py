"""Each gate's decision and its reason; a bundle in a new process."""

import os

import candidates
import numpy as np
import pytest
import tiny_bundles

from unroll.evaluation.statistics import Interval
from unroll.inference.bundle import load_bundle
from unroll.inference.sample_rows import sample_rows
from unroll.promotion import gates, results
from unroll.promotion.fresh import fresh_process
from unroll.promotion.gates import Comparison, Gate, Verdict

PARITY = {"max_relative_error": 3e-7, "tolerance": 1e-5, "finite": True, "shapes_tried": [[1], [2]], "passed": True}


@pytest.mark.parametrize(
    ("result", "passed", "reason"),
    [
        (PARITY, True, "3.0e-07"),
        (PARITY | {"passed": False, "max_relative_error": 0.1}, False, "1.0e-01"),
        (PARITY | {"passed": False, "finite": False}, False, "NaN"),
        (PARITY | {"int8": {"metric": "accuracy", "loss": 0.0012, "max_loss": 0.003}}, True, "0.12% of the accuracy"),
        (None, False, "unroll export"),
    ],
)
def test_parity(result, passed, reason):
    gate = gates.parity(result)
    assert gate.passed is passed
    assert reason in gate.reason


@pytest.mark.parametrize(
    ("skill", "p_value", "passed", "reason"),
    [
        (-9.4, 1e-5, False, "worse than drift: rmse 27.4, drift 8.5 (skill -9.400, p < 0.001)"),
        (-0.1, 0.049, False, "p 0.049"),
        (-0.1, 0.05, True, "as good as drift"),
        (0.1, 0.2, True, "as good as drift"),
        (0.1, 0.01, True, "better than drift"),
        (0.0, None, True, "do not differ"),
        (None, 0.01, True, "do not differ"),
    ],
)
def test_baseline(skill, p_value, passed, reason):
    against = {"skill": skill, "p_value": p_value}
    evaluation = {
        "metric": "rmse",
        "test": {"rmse": 27.4},
        "baseline": {"persistence": {"rmse": 8.55}, "drift": {"rmse": 8.5}},
        "against": {"persistence": against, "drift": against},
    }
    gate = gates.baseline(evaluation, higher_is_better=False)
    assert gate.passed is passed
    assert reason in gate.reason


def test_the_strongest_baseline_counts():
    evaluation = {
        "metric": "accuracy",
        "test": {"accuracy": 0.8},
        "baseline": {"majority": {"accuracy": 0.1}, "linear": {"accuracy": 0.9}},
        "against": {"majority": {"skill": 0.5, "p_value": 0.001}, "linear": {"skill": -0.5, "p_value": 0.001}},
    }
    assert not gates.baseline(evaluation, higher_is_better=True).passed
    assert gates.baseline(evaluation, higher_is_better=False).passed


@pytest.mark.parametrize(
    ("comparison", "passed", "won", "reason"),
    [
        (
            Comparison("old@1", 50, Interval(0.2, 0.1, 0.3)),
            False,
            False,
            "worse than old@1: mean loss +0.2, 95 % interval +0.1 to +0.3 on 50 rows",
        ),
        (Comparison("old@1", 50, Interval(0.1, -0.1, 0.3)), True, False, "as good as"),
        (Comparison("old@1", 50, Interval(0.0, 0.0, 0.0)), True, False, "as good as"),
        (Comparison("old@1", 50, Interval(-0.1, -0.2, 0.0)), True, False, "as good as"),
        (Comparison("old@1", 50, Interval(-0.2, -0.3, -0.1)), True, True, "better than"),
        (Comparison("old@1", impossible="it has another vocabulary"), False, False, "another vocabulary"),
        (Comparison(), True, True, "no champion"),
    ],
)
def test_champion(comparison, passed, won, reason):
    gate = gates.champion(comparison)
    assert gate.passed is passed
    assert reason in gate.reason
    assert comparison.won is won


def test_a_verdict_with_skipped_gates():
    found = gates.complete([Gate("parity", True, "x"), Gate("fresh process", False, "y")])
    assert [gate.name for gate in found] == list(gates.GATES)
    assert [gate.passed for gate in found] == [True, False, None, None]
    verdict = Verdict("a", "t", "0" * 64, found, "refused")
    assert verdict.reason == "y"
    (row,) = results.table([verdict])
    assert [row[name] for name in gates.GATES] == ["passed", "refused", "–", "–"]


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
