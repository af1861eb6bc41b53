"""Each gate's decision and its reason."""

import json

import pytest

from unroll.evaluation.statistics import Interval
from unroll.promotion import gates
from unroll.promotion.gates import Gate, Rivalry, Verdict

PARITY = {"max_relative_error": 3e-7, "tolerance": 1e-5, "finite": True, "shapes_tried": [[1], [2]], "passed": True}


def evaluation(skill, p_value, metric="rmse", value=27.4, others=None):
    others = others or {"persistence": 8.55, "drift": 8.5}
    return {
        "metric": metric,
        "test": {metric: value},
        "baseline": {name: {metric: one} for name, one in others.items()},
        "against": {name: {"skill": skill, "p_value": p_value} for name in others},
    }


def test_parity():
    gate = gates.parity(PARITY)
    assert gate.passed
    assert "3.0e-07" in gate.why
    assert not gates.parity(PARITY | {"passed": False, "max_relative_error": 0.1}).passed
    assert "no finite number" in gates.parity(PARITY | {"passed": False, "finite": False}).why
    assert "unroll export" in gates.parity(None).why


def test_fresh_process():
    assert gates.fresh_process({"rows": 32, "torch": False}).passed
    assert "torch" in gates.fresh_process({"rows": 32, "torch": True}).why
    gate = gates.fresh_process("model.onnx was altered")
    assert (gate.passed, gate.why) == (False, "model.onnx was altered")


@pytest.mark.parametrize(
    ("skill", "p_value", "passed", "words"),
    [
        (-9.4, 1e-5, False, "worse than drift: rmse 27.4, drift 8.5 (skill -9.400, p < 0.001)"),
        (-0.1, 0.049, False, "p 0.049"),
        (-0.1, 0.05, True, "as good as drift"),
        (0.1, 0.2, True, "as good as drift"),
        (0.1, 0.01, True, "better than drift"),
        (0.0, None, True, "no difference that could be tested"),
        (None, 0.01, True, "no difference that could be tested"),
    ],
)
def test_baseline(skill, p_value, passed, words):
    gate = gates.baseline(evaluation(skill, p_value), higher_is_better=False)
    assert gate.passed is passed
    assert words in gate.why


def test_the_strongest_baseline_counts():
    found = evaluation(0.5, 0.001, "accuracy", 0.8, {"majority": 0.1, "linear": 0.9})
    found["against"]["linear"] = {"skill": -0.5, "p_value": 0.001}
    assert not gates.baseline(found, higher_is_better=True).passed
    assert gates.baseline(found, higher_is_better=False).passed


@pytest.mark.parametrize(
    ("interval", "passed", "wins", "words"),
    [
        (
            Interval(0.2, 0.1, 0.3),
            False,
            False,
            "worse than old@1: mean loss +0.2, 95 % between +0.1 and +0.3 on 50 rows",
        ),
        (Interval(0.1, -0.1, 0.3), True, False, "as good as"),
        (Interval(0.0, 0.0, 0.0), True, False, "as good as"),
        (Interval(-0.1, -0.2, 0.0), True, False, "as good as"),
        (Interval(-0.2, -0.3, -0.1), True, True, "better than"),
    ],
)
def test_champion(interval, passed, wins, words):
    rivalry = Rivalry("old@1", 50, interval)
    gate = gates.champion(rivalry)
    assert gate.passed is passed
    assert words in gate.why
    assert gates.wins(rivalry) is wins


def test_without_a_champion_whoever_comes_first_wins():
    assert gates.champion(Rivalry()).passed
    assert gates.wins(Rivalry())


def test_a_champion_that_cannot_be_compared():
    rivalry = Rivalry("old@1", impossible="it has another vocabulary")
    gate = gates.champion(rivalry)
    assert not gate.passed
    assert "another vocabulary" in gate.why
    assert not gates.wins(rivalry)


def test_gates_after_a_refusal_are_not_asked():
    found = gates.not_asked([Gate("parity", True, "x"), Gate("fresh process", False, "y")])
    assert [gate.name for gate in found] == list(gates.GATES)
    assert [gate.passed for gate in found] == [True, False, None, None]


def test_a_verdict_as_rows_and_as_json():
    found = gates.not_asked([Gate("parity", True, "x"), Gate("fresh process", False, "y")])
    verdict = Verdict("a", "t", "0" * 64, found, "refused")
    assert verdict.why == "y"
    assert verdict.rows()[1] == {"experiment": "a", "gate": "fresh process", "passed": "refused", "why": "y"}
    assert verdict.rows()[3]["passed"] == "not asked"
    assert Verdict.of(json.loads(json.dumps(verdict.plain()))) == verdict
