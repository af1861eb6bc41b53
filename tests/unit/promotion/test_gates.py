"""Each gate's decision and its reason; a bundle in a new process."""

import os

import candidates
import numpy as np
import pytest
import tiny_bundles

from unroll.inference.bundle import load_bundle
from unroll.inference.sample_rows import sample_rows
from unroll.promotion import gates, results
from unroll.promotion.fresh import fresh_process
from unroll.promotion.gates import UNDECIDED, Comparison, Gate, Headline, Verdict

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


def compared(rows, wins, losses, higher_is_better=True, headline=None):
    """Right where the other is wrong on `wins` rows, the reverse on `losses`; both wrong on a tenth of the rest."""
    ours, theirs = np.zeros(rows), np.zeros(rows)
    theirs[:wins] = 1
    ours[wins : wins + losses] = 1
    both = (rows - wins - losses) // 10
    ours[rows - both :] = theirs[rows - both :] = 1
    headline = headline or Headline("accuracy", 0.9, 0.9, higher_is_better)
    return gates.difference(ours, theirs, 0.05, headline)


CASES = [
    (compared(1000, 100, 20), "passed", True, "better than it"),
    (compared(1000, 50, 50), "passed", False, "not worse than it by more than 5 %"),
    (compared(1000, 10, 30), "passed", False, "not worse than it by more than 5 %"),
    (compared(1000, 20, 100), "refused", False, "worse than it"),
    (compared(154, 10, 14), UNDECIDED, False, "too few rows to tell whether it is worse than it by more than 5 %"),
    # An error of 0.1: the margin is 0.005 instead of 0.045.
    (compared(1000, 50, 50, higher_is_better=False), UNDECIDED, False, "too few rows"),
    # So few rows have an interval without width if no answer differs.
    (compared(29, 0, 0), UNDECIDED, False, "too few rows"),
    (compared(29, 20, 0), UNDECIDED, False, "too few rows"),
    (compared(30, 0, 0), "passed", False, "not worse"),
]


@pytest.mark.parametrize(("found", "outcome", "better", "words"), CASES)
def test_difference(found, outcome, better, words):
    """Both gates decide alike, in the same words; only a better model replaces a champion."""
    comparison = Comparison("it", found)
    gate = gates.champion(comparison)
    assert (gate.outcome, gate.reason) == (outcome, gates.baseline("it", found).reason)
    assert gates.baseline("it", found).outcome == outcome
    assert gate.reason.startswith(words)
    assert f"margin {found.margin:.3g}, on {found.rows:,} rows" in gate.reason
    assert comparison.won is better


@pytest.mark.parametrize(
    ("metric", "value", "other", "outcome"),
    [
        ("bleu", 6.6, 8.1, UNDECIDED),
        ("bleu", 7.7, 8.1, "passed"),
        ("perplexity", 21.1, 20.0, UNDECIDED),
        ("perplexity", 20.9, 20.0, "passed"),
    ],
)
def test_losses_alone_do_not_pass_a_worse_metric(metric, value, other, outcome):
    found = compared(1000, 100, 20, headline=Headline(metric, value, other, metric == "bleu"))
    comparison = Comparison("nearest", found)
    for gate in (gates.baseline("nearest", found), gates.champion(comparison)):
        assert gate.outcome == outcome
        assert (f"its {metric} is by more than 5 %" in gate.reason) is (outcome == UNDECIDED)
        assert f"{metric} {value} against {other:g}" in gate.reason
    assert comparison.won is (outcome == "passed")


def test_the_strongest_baseline_counts():
    evaluation = {"metric": "accuracy", "baseline": {"majority": {"accuracy": 0.1}, "linear": {"accuracy": 0.9}}}
    assert gates.strongest(evaluation, higher_is_better=True) == "linear"
    assert gates.strongest(evaluation, higher_is_better=False) == "majority"


@pytest.mark.parametrize(
    ("comparison", "outcome", "won", "reason"),
    [
        (Comparison("old@1", impossible="it has another vocabulary"), UNDECIDED, False, "another vocabulary"),
        (Comparison(), "passed", True, "no champion"),
    ],
)
def test_no_comparison(comparison, outcome, won, reason):
    gate = gates.champion(comparison)
    assert gate.outcome == outcome
    assert reason in gate.reason
    assert comparison.won is won


def test_a_verdict_with_skipped_gates():
    found = gates.complete([Gate("parity", "passed", "x"), Gate("fresh process", "refused", "y")])
    assert [gate.name for gate in found] == list(gates.GATES)
    assert [gate.outcome for gate in found] == ["passed", "refused", "skipped", "skipped"]
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
