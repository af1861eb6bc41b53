"""The gates: pure decisions, each with its reason."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from unroll.evaluation.statistics import Interval

PARITY, FRESH, BASELINE, CHAMPION = "parity", "fresh process", "baseline", "champion"
GATES = (PARITY, FRESH, BASELINE, CHAMPION)
LEVEL = 0.05
"""p-value below which a difference is taken for more than chance."""


@dataclass(frozen=True)
class Gate:
    """What one gate says.

    Attributes:
        name: One of GATES.
        passed: None where it was not asked, because one before it refused.
        why: In one line.
    """

    name: str
    passed: bool | None
    why: str

    @property
    def told(self) -> str:
        """Both, as a tag of MLflow keeps them."""
        return f"{_said(self.passed)}: {self.why}"


@dataclass(frozen=True)
class Verdict:
    """What became of one experiment's bundle.

    Attributes:
        experiment: Its name.
        task: Its task's, which is the registered model's, too.
        model_sha256: Of its graph.
        gates: What each gate says, in the order of GATES; none where nothing was to be decided.
        decision: champion, challenger, passed, refused, held (registered for a person to decide), or previous (champion
            until a better one of the same run came). That of its time: aliases may have moved since.
        version: Of the registered model; empty where it was not registered.
        note: What else is to be said.
    """

    experiment: str
    task: str
    model_sha256: str
    gates: tuple[Gate, ...]
    decision: str
    version: str = ""
    note: str = ""

    @property
    def why(self) -> str:
        """The reason of the decision: of the gate that refused, or how it does beside baseline and champion."""
        refused = [gate.why for gate in self.gates if gate.passed is False]
        return refused[0] if refused else "; ".join(gate.why for gate in self.gates[2:]) or self.note

    def rows(self) -> list[dict[str, str]]:
        """One row a gate: experiment, gate, passed, why."""
        return [
            {"experiment": self.experiment, "gate": gate.name, "passed": _said(gate.passed), "why": gate.why}
            for gate in self.gates
        ]

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @staticmethod
    def of(plain: Mapping[str, Any]) -> "Verdict":
        """From what `plain` gave."""
        return Verdict(**{**plain, "gates": tuple(Gate(**gate) for gate in plain["gates"])})


@dataclass(frozen=True)
class Rivalry:
    """A bundle beside the present champion of its task.

    Attributes:
        champion: The champion's `NAME@SHA12` and version; empty where there is none, or it is this bundle itself.
        rows: Test rows that both were judged on.
        interval: Of the mean difference of losses, challenger − champion; None where they cannot be compared.
        impossible: Why they cannot.
        note: What is to be said of a comparison that was made, or why there was none to make.
    """

    champion: str = ""
    rows: int = 0
    interval: Interval | None = None
    impossible: str = ""
    note: str = ""


def parity(found: Mapping[str, Any] | None) -> Gate:
    """ONNX and torch agree.

    Args:
        found: parity.json of `export`; None where it is not there.
    """
    if found is None:
        return Gate(PARITY, False, "there is no parity.json; run `unroll export` again")
    told = f"largest relative error {found['max_relative_error']:.1e}, {found['tolerance']:.0e} is allowed"
    if found["passed"]:
        return Gate(PARITY, True, f"{told}; {len(found['shapes_tried'])} shapes")
    return Gate(PARITY, False, told if found.get("finite", True) else "a test row gives no finite number")


def fresh_process(found: Mapping[str, Any] | str) -> Gate:
    """The bundle loads and scores in a process of its own, without torch.

    Args:
        found: What that process reported: `rows`, `seconds`, and `torch`, whether it was imported; or why there is no
            report.
    """
    if isinstance(found, str):
        return Gate(FRESH, False, found)
    if found["torch"]:
        return Gate(FRESH, False, "scoring imported torch, which is not there where bundles are used")
    return Gate(FRESH, True, f"{found['rows']} test rows scored without torch")


def baseline(evaluation: Mapping[str, Any], *, higher_is_better: bool) -> Gate:
    """Not significantly worse than the strongest baseline, by the losses of the test rows.

    Args:
        evaluation: evaluation.json of `evaluate`.
        higher_is_better: Of its headline metric, by which the strongest baseline is chosen.
    """
    metric = evaluation["metric"]
    values = {name: figures[metric] for name, figures in evaluation["baseline"].items()}
    name = (max if higher_is_better else min)(values, key=lambda key: values[key])
    against = evaluation["against"][name]
    skill, p_value = against["skill"], against["p_value"]
    told = f"{metric} {evaluation['test'][metric]:.4g}, {name} {values[name]:.4g}"
    if p_value is None or skill is None:
        return Gate(BASELINE, True, f"{told}: no difference that could be tested")
    sure = f"skill {skill:+.3f}, p {_p(p_value)}"
    if p_value < LEVEL and skill < 0:
        return Gate(BASELINE, False, f"worse than {name}: {told} ({sure})")
    if p_value < LEVEL:
        return Gate(BASELINE, True, f"better than {name}: {told} ({sure})")
    return Gate(BASELINE, True, f"as good as {name}: {told} ({sure})")


def champion(rivalry: Rivalry) -> Gate:
    """Not significantly worse than the present champion on the same test rows."""
    if not rivalry.champion:
        return Gate(CHAMPION, True, rivalry.note or "there is no champion yet")
    if rivalry.interval is None:
        return Gate(CHAMPION, False, f"cannot be compared with {rivalry.champion}: {rivalry.impossible}")
    found = rivalry.interval
    what = "worse than" if found.worse else "better than" if found.better else "as good as"
    told = (
        f"{what} {rivalry.champion}: mean loss {found.mean:+.3g}, 95 % between {found.low:+.3g} and {found.high:+.3g} "
        f"on {rivalry.rows:,} rows"
    )
    return Gate(CHAMPION, not found.worse, told + (f"; {rivalry.note}" if rivalry.note else ""))


def wins(rivalry: Rivalry) -> bool:
    """Whether the champion's place is taken: surely better, or there is no other champion."""
    return not rivalry.champion or (rivalry.interval is not None and rivalry.interval.better)


def tag_name(gate: str) -> str:
    """Of MLflow's tag for what a gate says: `unroll.gate.fresh_process`."""
    return f"unroll.gate.{gate.replace(' ', '_')}"


def not_asked(gates: Sequence[Gate]) -> tuple[Gate, ...]:
    """The gates so far, and those after one that refused."""
    return (*gates, *(Gate(name, None, f"not asked: {gates[-1].name} refused") for name in GATES[len(gates) :]))


def _said(passed: bool | None) -> str:
    return "not asked" if passed is None else "passed" if passed else "refused"


def _p(value: float) -> str:
    return "< 0.001" if value < 1e-3 else f"{value:.3f}"
