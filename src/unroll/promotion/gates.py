"""The gates: pure functions of a bundle's results, each with its decision and the reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from unroll.evaluation.statistics import Interval, Losses

PARITY, FRESH, BASELINE, CHAMPION = "parity", "fresh process", "baseline", "champion"
GATES = (PARITY, FRESH, BASELINE, CHAMPION)
UNDECIDED: Final = "undecided"
MIN_ROWS = 30
"""With fewer test rows, the interval of a bootstrap is too narrow to decide anything."""


@dataclass(frozen=True)
class Gate:
    """The result of one gate: it is skipped if an earlier one did not pass."""

    name: str
    outcome: Literal["passed", "refused", "undecided", "skipped"]
    reason: str

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"

    def __str__(self) -> str:
        return f"{self.outcome}: {self.reason}"


@dataclass(frozen=True)
class Verdict:
    """What was decided about the bundle of an experiment, at the time; aliases may have moved since.

    Attributes:
        experiment: Name of the experiment.
        task: Name of its task, and of the registered model.
        model_sha256: SHA-256 of the graph.
        gates: The result of each gate, in the order of GATES.
        decision: `champion`, `challenger`, `passed` (not worse than the champion, but there is a challenger already),
            `refused`, or `undecided` (registered for a person to decide: the test rows are too few to tell, or it
            cannot be compared with the champion).
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
        """The reason of the gate that did not pass, or how the model compares with baseline and champion."""
        stopped = [gate.reason for gate in self.gates if not gate.passed]
        return stopped[0] if stopped else "; ".join(gate.reason for gate in self.gates[2:])


@dataclass(frozen=True)
class Headline:
    """The headline metric of a model and of another one, on the same test rows."""

    name: str
    value: float
    other: float
    higher_is_better: bool

    def is_worse(self, share: float) -> bool:
        """Return whether the model's is worse by more than this share of the other's."""
        shortfall = self.other - self.value if self.higher_is_better else self.value - self.other
        return shortfall > share * abs(self.other)


@dataclass(frozen=True)
class Difference:
    """How much worse a model is than another one on the same test rows: a test of non-inferiority.

    BLEU and F1 belong to all rows together, so a model's losses may be lower and its metric worse: that is undecided.

    Attributes:
        interval: Mean difference of losses, model − the other one.
        margin: The difference up to which a model counts as not worse, in units of the losses.
        share: The same relative to the other's metric, from params.yaml.
        rows: Number of test rows.
        headline: The headline metric of both.

    Source: Piaggio et al. 2012, Reporting of noninferiority and equivalence randomized trials, JAMA 308.
    """

    interval: "Interval"
    margin: float
    share: float
    rows: int
    headline: Headline

    @property
    def better(self) -> bool:
        """Whether the model is significantly better."""
        return self.outcome == "passed" and self.interval.better

    @property
    def outcome(self) -> Literal["passed", "refused", "undecided"]:
        """Passed if the interval is below the margin; otherwise refused if it shows that the model is worse."""
        if not self._losses_pass:
            return "refused" if self.rows >= MIN_ROWS and self.interval.worse else UNDECIDED
        return UNDECIDED if self.headline.is_worse(self.share) else "passed"

    @property
    def _losses_pass(self) -> bool:
        return self.rows >= MIN_ROWS and (self.interval.better or self.interval.high < self.margin)

    def describe(self, other: str) -> str:
        """Return the outcome in words, and the figures that it follows from."""
        percent = f"by more than {100 * self.share:.3g} %"
        if self.outcome == "refused":
            words = f"worse than {other}"
        elif self.outcome == "passed":
            words = f"better than {other}" if self.better else f"not worse than {other} {percent}"
        elif self._losses_pass:
            words = f"its losses are not worse than those of {other}, but its {self.headline.name} is {percent}"
        else:
            words = f"too few rows to tell whether it is worse than {other} {percent}"
        return f"{words}: {self.headline.name} {self.headline.value:.4g} against {self.headline.other:.4g}; {self}"

    def __str__(self) -> str:
        found = self.interval
        return (
            f"mean loss {found.mean:+.3g}, 95 % interval {found.low:+.3g} to {found.high:+.3g}, "
            f"margin {self.margin:.3g}, on {self.rows:,} rows"
        )


def difference(losses: "Losses", other: "Losses", share: float, headline: Headline) -> Difference:
    """Compare two models by their losses on the same rows, with a margin relative to the other one's metric.

    Where a higher metric is better, a loss is 1 − its value for the row; otherwise the loss is the error itself.
    """
    # Imported here: `make run` reads decisions, without numpy.
    from unroll.evaluation.statistics import paired_bootstrap

    mean = float(other.mean())
    margin = share * (1 - mean if headline.higher_is_better else mean)
    return Difference(paired_bootstrap(losses, other), margin, share, len(losses), headline)


@dataclass(frozen=True)
class Comparison:
    """A bundle compared with the champion of its task.

    Attributes:
        champion: `NAME@SHA12` and version of the champion; empty if there is none, or it is this bundle itself.
        difference: How much worse it is; None if they cannot be compared.
        impossible: Why they cannot be compared.
        note: A remark on the comparison.
    """

    champion: str = ""
    difference: Difference | None = None
    impossible: str = ""
    note: str = ""

    @property
    def won(self) -> bool:
        """Whether the bundle becomes champion: it is significantly better, or there is no other champion."""
        return not self.champion or (self.difference is not None and self.difference.better)


def parity(result: Mapping[str, Any] | None) -> Gate:
    """Pass if ONNX and torch agree, and int8 loses little, according to the parity.json of `export`."""
    if result is None:
        return Gate(PARITY, "refused", "parity.json is missing; run `unroll export EXPERIMENT` again")
    if not result.get("finite", True):
        return Gate(PARITY, "refused", "a test row gives NaN or infinity")
    reason = (
        f"largest relative error {result['max_relative_error']:.1e}, tolerance {result['tolerance']:.0e}, "
        f"{len(result['shapes_tried'])} shapes"
    )
    if int8 := result.get("int8"):
        reason += f"; int8 loses {int8['loss']:.2%} of the {int8['metric']}, at most {int8['max_loss']:.2%}"
    return Gate(PARITY, "passed" if result["passed"] else "refused", reason)


def strongest(evaluation: Mapping[str, Any], *, higher_is_better: bool) -> str:
    """Return the name of the baseline with the best headline metric, according to the evaluation.json of `evaluate`."""
    values = {name: figures[evaluation["metric"]] for name, figures in evaluation["baseline"].items()}
    name: str = (max if higher_is_better else min)(values, key=lambda key: values[key])
    return name


def baseline(name: str, found: Difference) -> Gate:
    """Pass if not worse than the baseline `name` by more than the margin."""
    return Gate(BASELINE, found.outcome, found.describe(name))


def champion(comparison: Comparison) -> Gate:
    """Pass if not worse than the champion by more than the margin: the same test as against the baseline."""
    if not comparison.champion:
        return Gate(CHAMPION, "passed", comparison.note or "there is no champion yet")
    found = comparison.difference
    if found is None:
        return Gate(CHAMPION, UNDECIDED, f"cannot be compared with {comparison.champion}: {comparison.impossible}")
    reason = found.describe(comparison.champion)
    return Gate(CHAMPION, found.outcome, f"{reason}; {comparison.note}" if comparison.note else reason)


def tag_name(gate: str) -> str:
    """Return the MLflow tag of a gate's result, such as `unroll.gate.fresh_process`."""
    return f"unroll.gate.{gate.replace(' ', '_')}"


def complete(found: Sequence[Gate]) -> tuple[Gate, ...]:
    """Add the gates that were skipped because the last one did not pass."""
    why = f"{found[-1].name} {found[-1].outcome}"
    return (*found, *(Gate(name, "skipped", why) for name in GATES[len(found) :]))
