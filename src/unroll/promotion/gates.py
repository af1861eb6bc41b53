"""The gates: pure functions of a bundle's results, each with its decision and the reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unroll.evaluation.statistics import Interval

PARITY, FRESH, BASELINE, CHAMPION = "parity", "fresh process", "baseline", "champion"
GATES = (PARITY, FRESH, BASELINE, CHAMPION)
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Gate:
    """The result of one gate; `passed` is None if an earlier gate refused."""

    name: str
    passed: bool | None
    reason: str

    def __str__(self) -> str:
        word = "skipped" if self.passed is None else "passed" if self.passed else "refused"
        return f"{word}: {self.reason}"


@dataclass(frozen=True)
class Verdict:
    """What was decided about the bundle of an experiment, at the time; aliases may have moved since.

    Attributes:
        experiment: Name of the experiment.
        task: Name of its task, and of the registered model.
        model_sha256: SHA-256 of the graph.
        gates: The result of each gate, in the order of GATES.
        decision: `champion`, `challenger`, `passed` (as good as the champion, but there is a challenger already),
            `refused`, or `held` (registered for a person to decide, because it cannot be compared with the champion).
        version: Number of the registered version; empty if it was refused.
    """

    experiment: str
    task: str
    model_sha256: str
    gates: tuple[Gate, ...]
    decision: str
    version: str = ""

    @property
    def reason(self) -> str:
        """The reason of the gate that refused, or how the model compares with baseline and champion."""
        refused = [gate.reason for gate in self.gates if gate.passed is False]
        return refused[0] if refused else "; ".join(gate.reason for gate in self.gates[2:])


@dataclass(frozen=True)
class Comparison:
    """A bundle compared with the champion of its task.

    Attributes:
        champion: `NAME@SHA12` and version of the champion; empty if there is none, or it is this bundle itself.
        rows: Number of test rows.
        interval: Mean difference of losses, bundle − champion; None if they cannot be compared.
        impossible: Why they cannot be compared.
        note: A remark on the comparison.
    """

    champion: str = ""
    rows: int = 0
    interval: Interval | None = None
    impossible: str = ""
    note: str = ""

    @property
    def won(self) -> bool:
        """Whether the bundle becomes champion: it is significantly better, or there is no other champion."""
        return not self.champion or (self.interval is not None and self.interval.better)


def parity(result: Mapping[str, Any] | None) -> Gate:
    """Pass if ONNX and torch agree, and int8 loses little, according to the parity.json of `export`."""
    if result is None:
        return Gate(PARITY, False, "parity.json is missing; run `unroll export` again")
    if not result.get("finite", True):
        return Gate(PARITY, False, "a test row gives NaN or infinity")
    reason = (
        f"largest relative error {result['max_relative_error']:.1e}, tolerance {result['tolerance']:.0e}, "
        f"{len(result['shapes_tried'])} shapes"
    )
    if int8 := result.get("int8"):
        reason += f"; int8 loses {int8['loss']:.2%} of the {int8['metric']}, at most {int8['max_loss']:.2%}"
    return Gate(PARITY, bool(result["passed"]), reason)


def baseline(evaluation: Mapping[str, Any], *, higher_is_better: bool) -> Gate:
    """Pass unless significantly worse than the strongest baseline, according to the evaluation.json of `evaluate`."""
    metric = evaluation["metric"]
    values = {name: figures[metric] for name, figures in evaluation["baseline"].items()}
    name = (max if higher_is_better else min)(values, key=lambda key: values[key])
    skill, p_value = evaluation["against"][name]["skill"], evaluation["against"][name]["p_value"]
    figures = f"{metric} {evaluation['test'][metric]:.4g}, {name} {values[name]:.4g}"
    if p_value is None or skill is None:
        return Gate(BASELINE, True, f"{figures}: the losses do not differ")
    significant = p_value < SIGNIFICANCE
    word = "as good as" if not significant else "worse than" if skill < 0 else "better than"
    p = "p < 0.001" if p_value < 1e-3 else f"p {p_value:.3f}"
    return Gate(BASELINE, not significant or skill >= 0, f"{word} {name}: {figures} (skill {skill:+.3f}, {p})")


def champion(comparison: Comparison) -> Gate:
    """Pass unless significantly worse than the champion on the same test rows."""
    if not comparison.champion:
        return Gate(CHAMPION, True, comparison.note or "there is no champion yet")
    found = comparison.interval
    if found is None:
        return Gate(CHAMPION, False, f"cannot be compared with {comparison.champion}: {comparison.impossible}")
    word = "worse than" if found.worse else "better than" if found.better else "as good as"
    reason = (
        f"{word} {comparison.champion}: mean loss {found.mean:+.3g}, 95 % interval {found.low:+.3g} to "
        f"{found.high:+.3g} on {comparison.rows:,} rows"
    )
    return Gate(CHAMPION, not found.worse, f"{reason}; {comparison.note}" if comparison.note else reason)


def tag_name(gate: str) -> str:
    """Return the MLflow tag of a gate's result, such as `unroll.gate.fresh_process`."""
    return f"unroll.gate.{gate.replace(' ', '_')}"


def complete(found: Sequence[Gate]) -> tuple[Gate, ...]:
    """Add the gates that were skipped because the last one refused."""
    return (*found, *(Gate(name, None, f"skipped: {found[-1].name} refused") for name in GATES[len(found) :]))
