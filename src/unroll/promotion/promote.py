"""From trained bundles to registered versions: run the gates, register what passes, move the aliases."""

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from filelock import FileLock

from unroll import paths
from unroll.config.reading import load_all, load_section
from unroll.errors import BundleError, DataError, VersionError
from unroll.features.samples import linspace_indices
from unroll.files import read_json, require, sha256_of, write_json
from unroll.inference.bundle import PROVENANCE, load_bundle
from unroll.inference.sample_rows import sample_rows
from unroll.promotion import gates, rescoring, results
from unroll.promotion.fresh import fresh_process
from unroll.promotion.gates import UNDECIDED, Comparison, Difference, Gate, Headline, Verdict
from unroll.promotion.rescoring import Result, TaskRows
from unroll.tracking import Run, registry
from unroll.tracking.registry import CHALLENGER, CHAMPION, DECISION, PREVIOUS, Version

FRESH_ROWS = 32
"""Test rows that the new process scores."""


def gate(names: Sequence[str], report: Callable[[str], None]) -> list[Verdict]:
    """Run the gates on experiments, the best of each task first, and register those that pass.

    Each verdict is written to promotion.json at once. If the process is killed, the next call starts again where no
    decision was made.

    Args:
        names: Experiments that have a bundle.
        report: Called with a line per experiment.

    Raises:
        ServiceUnavailable, TrackingError: The store cannot be used.
        DataError: A result or the features of a task are missing.
    """
    task_of = {name: load_section("experiments", name).task for name in names}
    verdicts: dict[str, Verdict] = {}
    paths.STATE.mkdir(exist_ok=True)
    # Two processes would each compare with a champion that the other has replaced.
    with FileLock(paths.STATE / "promotion.lock"):
        # First, before anything is computed, for the store may be unavailable.
        known = registry.versions()
        finished = {one.model_sha256: one for one in known if one.tags.get(DECISION, UNDECIDED) != UNDECIDED}
        for name in names:
            if version := finished.get(_sha256(name)):
                verdicts[name] = _verdict_before(name, version)
                aliases = ", ".join(version.aliases) or "none"
                report(f"{name}: {_line(verdicts[name])}decided before; its aliases now: {aliases}")
        new = sorted((name for name in names if name not in verdicts), key=lambda name: task_of[name])
        for task, group in groupby(new, key=lambda name: task_of[name]):
            verdicts |= _examine(TaskRows(task), list(group), report)
    return [verdicts[name] for name in names]


def promote(name: str, version: str) -> str:
    """Make a version, by number or alias, champion whatever the gates say.

    Returns:
        What was done, and a line for each gate that the version did not pass.

    Raises:
        TrackingError: There is no such version, or its files are not what was registered.
    """
    new = registry.version_of(name, version)
    registry.resolve(f"models:/{name}/{new.version}")
    old = registry.promote(name, new.version)
    done = f"{name}: version {new.version} ({new.model_version}) is champion"
    done += f"; version {old.version} ({old.model_version}) is previous" if old else ""
    results_of_gates = ((gate, new.tags.get(gates.tag_name(gate))) for gate in gates.GATES)
    not_passed = [f"  {gate}: {found}" for gate, found in results_of_gates if found and not found.startswith("passed")]
    return "\n".join([done, *not_passed])


def rollback(name: str) -> str:
    """Exchange champion and `previous`; return what was done. Raise what `promote` raises."""
    return promote(name, PREVIOUS)


def _run_gates(name: str, test: TaskRows, champion: Version | None) -> tuple[list[Gate], Comparison | None]:
    parity = paths.parity(name)
    found = [gates.parity(read_json(parity) if parity.exists() else None)]
    if found[-1].passed:
        found.append(_fresh(paths.bundle(name), test))
    if found[-1].passed:
        found.append(_baseline(name, test))
    if not found[-1].passed:
        return found, None
    comparison = _compare(name, test, champion)
    return [*found, gates.champion(comparison)], comparison


def _fresh(folder: Path, test: TaskRows) -> Gate:
    try:
        card = load_bundle(folder).card
    except BundleError as error:
        return Gate(gates.FRESH, "refused", str(error))
    some = linspace_indices(len(test.rows["inputs"]), FRESH_ROWS)
    return fresh_process(folder, sample_rows(test.rows, some, card))


def _baseline(name: str, test: TaskRows) -> Gate:
    strongest = gates.strongest(_evaluation(name), higher_is_better=test.metrics.higher_is_better)
    return gates.baseline(strongest, _difference(name, test, test.of_baseline(strongest)))


def _difference(name: str, test: TaskRows, other: Result) -> Difference:
    ours, metrics = test.of_experiment(name, load_bundle(paths.bundle(name))), test.metrics
    headline = Headline(metrics.headline, ours.headline, other.headline, metrics.higher_is_better)
    return gates.difference(ours.losses, other.losses, load_all().promotion.margin, headline)


def _compare(name: str, test: TaskRows, champion: Version | None) -> Comparison:
    """Compare a bundle with the champion on the same test rows.

    Raises:
        ServiceUnavailable, TrackingError, BundleError: The champion's files cannot be read now; nothing is decided.
    """
    bundle = load_bundle(paths.bundle(name))
    if champion is None:
        return Comparison()
    if champion.model_sha256 == bundle.sha256:
        # A process was killed after it had moved the alias, and before it had written the decision.
        return Comparison(note="it is the champion already")
    label = f"{champion.model_version} (version {champion.version})"
    try:
        old = load_bundle(registry.resolve(f"models:/{test.task}/{champion.version}").folder / "bundle")
        if impossible := rescoring.differences(old, bundle):
            return Comparison(label, impossible=impossible)
        theirs = test.of_version(old)
    except (VersionError, BundleError) as error:
        if isinstance(error, BundleError) and isinstance(error.__cause__, OSError):
            raise  # a file that this machine cannot read just now
        return Comparison(label, impossible=str(error))
    if theirs is None:
        return Comparison(label, impossible="its losses were saved, but for other test rows than today's")
    same_data = not old.card.data or old.card.data == bundle.card.data
    note = "" if same_data else "the champion was trained on other data, perhaps on some of these test rows"
    return Comparison(label, _difference(name, test, theirs), note=note)


def _sha256(name: str) -> str:
    return sha256_of(require(paths.graph(name), f"export {name}"))


def _evaluation(name: str) -> Any:
    return read_json(require(paths.evaluation(name), f"evaluate {name}"))


def _verdict_before(name: str, version: Version) -> Verdict:
    """Return the verdict on a graph that was decided before, by its file or else by the version's tag."""
    decided = results.decided(name)
    if decided is None:
        decided = Verdict(name, version.name, version.model_sha256, (), version.tags[DECISION], version.version)
        results.write(decided)
    return decided


def _examine(test: TaskRows, names: Sequence[str], report: Callable[[str], None]) -> dict[str, Verdict]:
    """Run the gates on new bundles of a task: the best meets the champion, the others meet the better of both."""

    def headline(name: str) -> float:
        return float(_evaluation(name)["test"][test.metrics.headline])

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
    champion = next((one for one in registry.versions(test.task) if CHAMPION in one.aliases), None)
    sha256 = _sha256(name)
    found, comparison = _run_gates(name, test, champion)
    experiment = load_section("experiments", name)
    with Run.resume(name, experiment, test.section, test.metrics.headline) as run:
        run_id = run.run_id
    results_of_gates = gates.complete(found)
    tags = {gates.tag_name(one.name): str(one) for one in results_of_gates}
    decision, number = str(found[-1].outcome), ""
    if decision != "refused":
        version = _register(name, run_id, sha256, test)
        if comparison and decision == "passed":
            decision = _move_aliases(version, comparison, has_challenger=has_challenger)
        number = version.version
        registry.tag_version(version.name, number, tags | {DECISION: decision})
    registry.tag_run(run_id, tags | {DECISION: decision})
    return Verdict(name, test.task, sha256, results_of_gates, decision, number)


def _register(name: str, run_id: str, sha256: str, test: TaskRows) -> Version:
    provenance = read_json(paths.provenance(name)) | {"model_sha256": sha256}
    provenance.pop("sent", None)
    with tempfile.TemporaryDirectory() as scratch:
        files = Path(scratch)
        bundle = load_bundle(shutil.copytree(paths.bundle(name), files / "bundle"))
        if bundle.sha256 != sha256:
            raise DataError(f"{paths.bundle(name)} changed during the gates; run `unroll models gate` again")
        write_json(files / PROVENANCE, provenance)
        if not rescoring.gives_losses(bundle.card):
            rescoring.save_result(files / rescoring.LOSSES, test.of_experiment(name, bundle), test.rows)
        tags = {
            "unroll.experiment": name,
            "unroll.model_version": bundle.version,
            "unroll.model_sha256": sha256,
            "unroll.git_commit": str(provenance.get("git_commit")),
            "unroll.git_dirty": str(provenance.get("git_dirty")).lower(),
            "unroll.data": json.dumps(bundle.card.data, sort_keys=True),
        }
        return registry.register(test.task, run_id, files, tags)


def _move_aliases(version: Version, comparison: Comparison, *, has_challenger: bool) -> str:
    if comparison.won:
        registry.promote(version.name, version.version)
        return CHAMPION
    if has_challenger:
        return "passed"
    registry.set_alias(version.name, version.version, CHALLENGER)
    return CHALLENGER
