"""From trained bundles to registered versions: run the gates, register what passes, move the aliases."""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from filelock import FileLock

from unroll import paths
from unroll.config.reading import load_section
from unroll.config.section import TaskSection
from unroll.domains import domain_of
from unroll.errors import BundleError, DataError, VersionError
from unroll.evaluation.statistics import Losses, paired_bootstrap
from unroll.features.samples import Samples, Tensors, linspace_indices
from unroll.files import read_json, require, sha256_of, write_json
from unroll.inference.bundle import PROVENANCE, Bundle, load_bundle
from unroll.inference.sample_rows import sample_rows
from unroll.metrics.metrics import Metrics
from unroll.promotion import gates, rescoring, results
from unroll.promotion.fresh import score_in_new_process
from unroll.promotion.gates import Comparison, Gate, Verdict
from unroll.tracking import Run, registry
from unroll.tracking.registry import CHALLENGER, CHAMPION, DECISION, PREVIOUS, Version

FRESH_ROWS = 32
"""Test rows that the new process scores."""


@dataclass(frozen=True)
class TaskRows:
    """A task with its present test rows, and the losses of bundles on them by SHA-256."""

    name: str
    section: TaskSection
    metrics: Metrics
    rows: Tensors
    losses: dict[str, Losses] = field(default_factory=dict)

    @staticmethod
    def load(name: str) -> "TaskRows":
        """Load the rows of a task in params.yaml."""
        section = load_section("tasks", name)
        samples = Samples.load(require(paths.features(name), f"featurize {name}"))
        metrics = domain_of(section.domain).part("metrics").make_metrics(section, samples)
        return TaskRows(name, section, metrics, rescoring.test_rows(samples))

    def losses_of(self, bundle: Bundle) -> Losses:
        """Run the bundle once, and remember its losses."""
        if bundle.sha256 not in self.losses:
            self.losses[bundle.sha256] = rescoring.losses(bundle, self.metrics, self.rows)
        return self.losses[bundle.sha256]


def gate(names: Sequence[str], report: Callable[[str], None]) -> list[Verdict]:
    """Run the gates on experiments, the best of each task first, and register those that pass.

    Each verdict is written to promotion.json at once. If the process is killed, the next call starts again where no
    decision was made.

    Args:
        names: Experiments that have a bundle.
        report: Is called with a line per experiment.

    Raises:
        ServiceUnavailable, TrackingError: The store cannot be used.
        DataError: A result or the features of a task are missing.
    """
    entries = [(load_section("experiments", name).task, name) for name in names]
    verdicts: dict[str, Verdict] = {}
    paths.STATE.mkdir(exist_ok=True)
    # Two processes would each compare with a champion that the other has replaced.
    with FileLock(paths.STATE / "promotion.lock"):
        # First, before anything is computed, for the store may be away.
        finished = _finished()
        for task, group in groupby(sorted(entries), key=lambda entry: entry[0]):
            new = []
            for _, name in group:
                if version := finished.get(_sha256(name)):
                    verdicts[name] = _verdict_before(name, version)
                    aliases = ", ".join(version.aliases) or "none"
                    report(f"{name}: {_line(verdicts[name])}decided before; its aliases now: {aliases}")
                else:
                    new.append(name)
            verdicts |= _examine(task, new, report) if new else {}
    return [verdicts[name] for name in names]


def unregistered(names: Sequence[str]) -> list[str]:
    """Return the experiments whose bundle is not a registered version, or whose gates were not finished."""
    finished = _finished()
    return [name for name in names if _sha256(name) not in finished]


def promote(name: str, version: str) -> str:
    """Make a version champion whatever the gates say, after verifying its files; return what was done.

    Args:
        name: Name of the registered model.
        version: Its number, or an alias.

    Raises:
        TrackingError: There is no such version, or its files are not what was registered.
    """
    new = registry.version_of(name, version)
    registry.resolve(f"models:/{name}/{new.version}")
    old = registry.promote(name, new.version)
    done = f"{name}: version {new.version} ({new.model_version}) is champion"
    return done + (f"; version {old.version} ({old.model_version}) is previous" if old else "")


def rollback(name: str) -> str:
    """Exchange champion and `previous`; return what was done. Raises as `promote`."""
    return promote(name, PREVIOUS)


def _finished() -> dict[str, Version]:
    """Return the registered versions whose gates are finished, by the SHA-256 of their graph."""
    return {one.model_sha256: one for one in registry.versions() if DECISION in one.tags}


def _sha256(name: str) -> str:
    return sha256_of(require(paths.graph(name), f"export {name}"))


def _verdict_before(name: str, version: Version) -> Verdict:
    """Return the verdict on a graph that was decided before, by its file or else by the version's tag."""
    decided = results.decided(name)
    if decided is None:
        decided = Verdict(name, version.name, version.model_sha256, (), version.tags[DECISION], version.version)
        results.write(decided)
    return decided


def _examine(task: str, names: Sequence[str], report: Callable[[str], None]) -> dict[str, Verdict]:
    """Run the gates on new bundles of a task: the best meets the champion, the others meet the better of both."""
    test = TaskRows.load(task)

    def headline(name: str) -> float:
        return float(read_json(require(paths.evaluation(name), f"evaluate {name}"))["test"][test.metrics.headline])

    verdicts: dict[str, Verdict] = {}
    for name in sorted(names, key=headline, reverse=test.metrics.higher_is_better):
        has_challenger = any(one.decision == CHALLENGER for one in verdicts.values())
        verdicts[name] = verdict = _decide(name, test, has_challenger=has_challenger)
        results.write(verdict)
        report(f"{name}: {_line(verdict)}{verdict.reason}")
    return verdicts


def _line(verdict: Verdict) -> str:
    version = f" (version {verdict.version} of {verdict.task})" if verdict.version else ""
    return f"{verdict.decision}{version}: "


def _decide(name: str, test: TaskRows, *, has_challenger: bool) -> Verdict:
    sha256 = _sha256(name)
    champion = next((one for one in registry.versions(test.name) if CHAMPION in one.aliases), None)
    found, comparison, bundle = _run_gates(name, test, champion)
    experiment = load_section("experiments", name)
    with Run.resume(name, experiment, test.section, test.metrics.headline) as run:
        run_id = run.run_id
    tags = {gates.tag_name(one.name): str(one) for one in found}
    decision, number = "refused", ""
    if bundle and comparison and (found[-1].passed or comparison.interval is None):
        version = _register(name, run_id, bundle, test)
        decision, number = _move_aliases(version, comparison, found[-1], has_challenger=has_challenger), version.version
        registry.tag_version(version.name, number, tags | {DECISION: decision})
    registry.tag_run(run_id, tags | {DECISION: decision})
    return Verdict(name, test.name, sha256, found, decision, number)


def _run_gates(
    name: str, test: TaskRows, champion: Version | None
) -> tuple[tuple[Gate, ...], Comparison | None, Bundle | None]:
    """Run the gates in their order, up to the first that refuses."""
    parity = gates.parity(read_json(paths.parity(name)) if paths.parity(name).exists() else None)
    if not parity.passed:
        return gates.complete([parity]), None, None
    try:
        bundle = load_bundle(paths.bundle(name))
    except BundleError as error:
        return gates.complete([parity, gates.fresh_process(str(error))]), None, None
    rows = sample_rows(test.rows, linspace_indices(len(test.rows["inputs"]), FRESH_ROWS), bundle.card)
    fresh = gates.fresh_process(score_in_new_process(bundle.folder, rows))
    if not fresh.passed:
        return gates.complete([parity, fresh]), None, bundle
    evaluation = read_json(require(paths.evaluation(name), f"evaluate {name}"))
    baseline = gates.baseline(evaluation, higher_is_better=test.metrics.higher_is_better)
    if not baseline.passed:
        return gates.complete([parity, fresh, baseline]), None, bundle
    comparison = _compare(name, bundle, test, champion)
    return (parity, fresh, baseline, gates.champion(comparison)), comparison, bundle


def _compare(name: str, bundle: Bundle, test: TaskRows, champion: Version | None) -> Comparison:
    """Compare the losses of a bundle and of the champion on the same test rows.

    Raises:
        ServiceUnavailable, TrackingError, BundleError: The champion's files cannot be read now; nothing is decided.
    """
    if champion is None:
        return Comparison()
    if champion.model_sha256 == bundle.sha256:
        # A process was killed after it had moved the alias, and before it had written the decision.
        return Comparison(note="it is the champion already")
    label = f"{champion.model_version} (version {champion.version})"
    try:
        folder = registry.resolve(f"models:/{test.name}/{champion.version}").folder
        old = load_bundle(folder / "bundle")
        if impossible := rescoring.differences(old, bundle):
            return Comparison(label, impossible=impossible)
        theirs = (
            test.losses_of(old)
            if rescoring.gives_losses(old.card)
            else rescoring.load_losses(folder / rescoring.LOSSES, test.rows)
        )
    except (VersionError, BundleError) as error:
        if isinstance(error, BundleError) and isinstance(error.__cause__, OSError):
            raise  # a file that this machine cannot read just now
        return Comparison(label, impossible=str(error))
    if theirs is None:
        return Comparison(label, impossible="its losses were saved, but for other test rows than today's")
    ours = _own_losses(name, bundle, test)
    same_data = not old.card.data or old.card.data == bundle.card.data
    note = "" if same_data else "the champion was trained on other data, perhaps on some of these test rows"
    return Comparison(label, len(ours), paired_bootstrap(ours, theirs), note=note)


def _own_losses(name: str, bundle: Bundle, test: TaskRows) -> Losses:
    if rescoring.gives_losses(bundle.card):
        return test.losses_of(bundle)
    table = require(paths.predictions(name), f"evaluate {name}")
    return rescoring.evaluated_losses(table, test.metrics, test.rows)


def _register(name: str, run_id: str, bundle: Bundle, test: TaskRows) -> Version:
    provenance = read_json(paths.provenance(name)) | {"model_sha256": bundle.sha256}
    with tempfile.TemporaryDirectory() as scratch:
        files = Path(scratch)
        shutil.copytree(paths.bundle(name), files / "bundle")
        if load_bundle(files / "bundle").sha256 != bundle.sha256:
            raise DataError(f"{paths.bundle(name)} changed during the gates; run `unroll models gate` again")
        write_json(files / PROVENANCE, provenance)
        if not rescoring.gives_losses(bundle.card):
            rescoring.save_losses(files / rescoring.LOSSES, _own_losses(name, bundle, test), test.rows)
        tags: Mapping[str, str] = {
            "unroll.experiment": name,
            "unroll.model_version": bundle.version,
            "unroll.model_sha256": bundle.sha256,
            "unroll.git_commit": str(provenance.get("git_commit")),
            "unroll.git_dirty": str(provenance.get("git_dirty")).lower(),
            "unroll.data": json.dumps(bundle.card.data, sort_keys=True),
        }
        return registry.register(test.name, run_id, files, tags)


def _move_aliases(version: Version, comparison: Comparison, last: Gate, *, has_challenger: bool) -> str:
    """Move the aliases and return the decision."""
    if not last.passed:
        return "held"
    if comparison.won:
        registry.promote(version.name, version.version)
        return CHAMPION
    if has_challenger:
        return "passed"
    registry.set_alias(version.name, version.version, CHALLENGER)
    return CHALLENGER
