"""From trained bundles to registered versions: asks the gates, registers what passes, and moves the aliases."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from unroll import paths
from unroll.config.reading import load_section
from unroll.config.section import TaskSection
from unroll.domains.task import Task, make_task
from unroll.errors import BundleError, DataError, VersionError
from unroll.evaluation.statistics import paired_bootstrap
from unroll.export.rows import rows_of
from unroll.features.samples import Samples, Tensors, linspace_indices
from unroll.files import read_json, require, sha256_of, write_json
from unroll.inference.bundle import PROVENANCE, Bundle, load_bundle
from unroll.promotion import gates, rescoring, results
from unroll.promotion.fresh import score_afresh
from unroll.promotion.gates import Gate, Rivalry, Verdict
from unroll.tracking import Run, registry
from unroll.tracking.versions import Version

FRESH_ROWS = 32
"""Test rows that the new process scores."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Contest:
    """A task with its test rows of today, and what models have lost on them."""

    name: str
    section: TaskSection
    task: Task
    rows: Tensors
    losses: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """By the SHA-256 of a graph."""


def gate(names: Sequence[str], say: Say) -> list[Verdict]:
    """Asks the gates for experiments, the best of each task first, and registers what passes.

    Each decision is kept in promotion.json as soon as it is made; one that was broken off is made again.

    Args:
        names: Of experiments that have a bundle.
        say: Is told what is going on, a line each.

    Raises:
        TrackingError: The store cannot be used.
        DataError: A result or the features of a task are missing.
    """
    entries = [(load_section("experiments", name).task, name) for name in names]
    found: dict[str, Verdict] = {}
    paths.STATE.mkdir(exist_ok=True)
    # Two at once would compare with a champion that the other has replaced.
    with FileLock(paths.STATE / "promotion.lock"):
        # Before anything is computed: a store that is away is told at once.
        done = _decided()
        for task, group in groupby(sorted(entries), key=lambda entry: entry[0]):
            champion = None
            for verdict in _decide(task, [name for _, name in group], done):
                results.write(verdict)
                found[verdict.experiment] = verdict
                say(f"{verdict.experiment}: {_told(verdict)}")
                if verdict.decision == registry.CHAMPION and not verdict.note:
                    if champion:
                        found[champion] = _demoted(found[champion])
                    champion = verdict.experiment
    return [found[name] for name in names]


def unregistered(names: Sequence[str]) -> list[str]:
    """Those experiments whose bundle is no registered version, or one that the gates have not done with.

    Raises:
        TrackingError: The store cannot be used.
    """
    done = _decided()
    return [name for name in names if _sha256(name) not in done]


def promote(name: str, version: str) -> str:
    """Makes a version champion whatever the gates say, once its files are here and verified; gives what was done.

    Args:
        name: Of the registered model.
        version: Its number, or an alias.

    Raises:
        TrackingError: There is no such version, or its files are not what was registered.
    """
    found = registry.resolve(f"models:/{name}/{registry.version_of(name, version).version}")
    return _crowned(name, found.version)


def rollback(name: str) -> str:
    """Makes the version `previous` champion again; the champion becomes `previous`. Gives what was done.

    Raises:
        TrackingError: There is no previous version, or its files are not what was registered.
    """
    return promote(name, registry.version_of(name, registry.PREVIOUS).version)


def _decide(task: str, names: Sequence[str], done: Mapping[str, Version]) -> Iterator[Verdict]:
    """One verdict after the other, of the experiments of one task."""
    new = []
    for name in names:
        if version := done.get(_sha256(name)):
            yield _known(name, version)
        else:
            new.append(name)
    if not new:
        return
    contest = _contest(task)
    has_challenger = False
    for name in _best_first(new, contest.task):
        verdict = _judge(name, contest, has_challenger=has_challenger)
        has_challenger |= verdict.decision == registry.CHALLENGER
        yield verdict


def _decided() -> dict[str, Version]:
    """Registered versions that the gates have done with, by the SHA-256 of their graph."""
    return {one.model_sha256: one for one in registry.versions() if registry.DECISION in one.tags}


def _sha256(name: str) -> str:
    return sha256_of(require(paths.graph(name), f"export {name}"))


def _crowned(name: str, version: str) -> str:
    old = registry.crown(name, version)
    new = registry.version_of(name, version)
    told = f"{name}: version {new.version} ({new.model_version}) is champion"
    return told + (f"; version {old.version} ({old.model_version}) is previous" if old else "")


def _demoted(verdict: Verdict) -> Verdict:
    """Keeps of a champion of this run that it was champion for a moment."""
    version = registry.version_of(verdict.task, verdict.version)
    tags = {registry.DECISION: registry.PREVIOUS}
    registry.tag_version(version.name, version.version, tags)
    registry.tag_run(version.run_id, tags)
    verdict = replace(verdict, decision=registry.PREVIOUS)
    results.write(verdict)
    return verdict


def _contest(name: str) -> Contest:
    section = load_section("tasks", name)
    samples = Samples.load(require(paths.features(name), f"featurize {name}"))
    return Contest(name, section, make_task(name, section, samples), rescoring.test_rows(samples))


def _best_first(names: Sequence[str], task: Task) -> list[str]:
    """By the headline figure: the best meets the champion first, the others the better of both."""

    def value(name: str) -> float:
        return float(read_json(require(paths.evaluation(name), f"evaluate {name}"))["test"][task.metrics.headline])

    return sorted(names, key=value, reverse=task.metrics.higher_is_better)


def _judge(name: str, contest: Contest, *, has_challenger: bool) -> Verdict:
    sha256 = _sha256(name)
    champion = next((one for one in registry.versions(contest.name) if registry.CHAMPION in one.aliases), None)
    experiment = load_section("experiments", name)
    asked, rivalry, bundle = _ask(name, contest, champion)
    with Run.resume(name, experiment, contest.section, contest.task.metrics.headline) as tracked:
        run_id = tracked.run_id
    verdict = Verdict(name, contest.name, sha256, asked, "refused")
    tags = {gates.tag_name(gate.name): gate.told for gate in asked}
    if bundle and rivalry and (asked[-1].passed or rivalry.interval is None):
        version = _register(name, run_id, bundle, contest)
        decision = _move_aliases(version, rivalry, held=not asked[-1].passed, has_challenger=has_challenger)
        verdict = Verdict(name, contest.name, sha256, asked, decision, version.version)
        registry.tag_version(version.name, version.version, tags | {registry.DECISION: decision})
    registry.tag_run(run_id, tags | {registry.DECISION: verdict.decision})
    return verdict


def _ask(
    name: str, contest: Contest, champion: Version | None
) -> tuple[tuple[Gate, ...], Rivalry | None, Bundle | None]:
    """Every gate in its order, up to the first that refuses."""
    parity = gates.parity(read_json(paths.parity(name)) if paths.parity(name).exists() else None)
    if not parity.passed:
        return gates.not_asked([parity]), None, None
    try:
        bundle = load_bundle(paths.bundle(name))
    except BundleError as error:
        return gates.not_asked([parity, gates.fresh_process(str(error))]), None, None
    some = linspace_indices(len(contest.rows["inputs"]), FRESH_ROWS)
    rows = rows_of(contest.rows, some, bundle.card)
    fresh = gates.fresh_process(score_afresh(bundle.folder, rows))
    if not fresh.passed:
        return gates.not_asked([parity, fresh]), None, bundle
    evaluation = read_json(require(paths.evaluation(name), f"evaluate {name}"))
    baseline = gates.baseline(evaluation, higher_is_better=contest.task.metrics.higher_is_better)
    if not baseline.passed:
        return gates.not_asked([parity, fresh, baseline]), None, bundle
    rivalry = _compare(name, bundle, contest, champion)
    return (parity, fresh, baseline, gates.champion(rivalry)), rivalry, bundle


def _compare(name: str, bundle: Bundle, contest: Contest, champion: Version | None) -> Rivalry:
    """Both bundles on the same test rows.

    Raises:
        TrackingError: The champion cannot be had now; nothing is to be decided.
    """
    if champion is None:
        return Rivalry()
    if champion.model_sha256 == bundle.sha256:
        # A job was killed after it had moved the alias, and before it wrote the decision down.
        return Rivalry(note="it is the champion already")
    label = f"{champion.model_version} (version {champion.version})"
    try:
        folder = registry.resolve(f"models:/{contest.name}/{champion.version}").folder
        old = load_bundle(folder / "bundle")
        impossible = rescoring.differences(old, bundle)
        if impossible:
            return Rivalry(label, impossible=impossible)
        if rescoring.can_be_asked(contest.task):
            theirs: NDArray[np.float64] | None = _losses(old, contest)
        else:
            theirs = rescoring.kept(folder / rescoring.LOSSES, contest.rows)
    except (VersionError, BundleError) as error:
        if isinstance(error, BundleError) and isinstance(error.__cause__, OSError):
            raise  # a file that this machine could not read just now
        return Rivalry(label, impossible=str(error))
    if theirs is None:
        what = "its graph gives no likelihood of a given text, and the test rows are not those that it was evaluated on"
        return Rivalry(label, impossible=what)
    ours = _own_losses(name, bundle, contest)
    same = not old.card.data or old.card.data == bundle.card.data
    note = "" if same else "the champion was trained on other data and may have seen test rows of today"
    return Rivalry(label, len(ours), paired_bootstrap(ours, theirs), note=note)


def _own_losses(name: str, bundle: Bundle, contest: Contest) -> NDArray[np.float64]:
    if rescoring.can_be_asked(contest.task):
        return _losses(bundle, contest)
    return rescoring.written_losses(require(paths.predictions(name), f"evaluate {name}"), contest.task, contest.rows)


def _losses(bundle: Bundle, contest: Contest) -> NDArray[np.float64]:
    if bundle.sha256 not in contest.losses:
        contest.losses[bundle.sha256] = rescoring.losses(bundle, contest.task, contest.rows)
    return contest.losses[bundle.sha256]


def _register(name: str, run_id: str, bundle: Bundle, contest: Contest) -> Version:
    provenance = read_json(paths.provenance(name)) | {"model_sha256": bundle.sha256}
    with tempfile.TemporaryDirectory() as scratch:
        files = Path(scratch)
        shutil.copytree(paths.bundle(name), files / "bundle")
        if load_bundle(files / "bundle").sha256 != bundle.sha256:
            raise DataError(
                f"{paths.bundle(name)} changed while the gates looked at it; run `unroll models gate` again"
            )
        write_json(files / PROVENANCE, provenance)
        if not rescoring.can_be_asked(contest.task):
            rescoring.keep(files / rescoring.LOSSES, _own_losses(name, bundle, contest), contest.rows)
        tags: dict[str, Any] = {
            "unroll.experiment": name,
            "unroll.model_version": bundle.version,
            "unroll.model_sha256": bundle.sha256,
            "unroll.git_commit": str(provenance.get("git_commit")),
            "unroll.git_dirty": str(provenance.get("git_dirty")).lower(),
            "unroll.data": json.dumps(bundle.card.data, sort_keys=True),
        }
        return registry.register(contest.name, run_id, files, tags)


def _move_aliases(version: Version, rivalry: Rivalry, *, held: bool, has_challenger: bool) -> str:
    """Gives the decision."""
    if held:
        return "held"
    if gates.wins(rivalry):
        registry.crown(version.name, version.version)
        return registry.CHAMPION
    if has_challenger:
        return "passed"
    registry.move(version.name, version.version, registry.CHALLENGER)
    return registry.CHALLENGER


def _known(name: str, version: Version) -> Verdict:
    """What was decided of a graph when it was registered."""
    asked = []
    for gate_name in gates.GATES:
        said, _, why = version.tags.get(gates.tag_name(gate_name), "").partition(": ")
        if why:
            asked.append(Gate(gate_name, {"passed": True, "refused": False}.get(said), why))
    decision = version.tags[registry.DECISION]
    now = f"decided before; its aliases now: {', '.join(version.aliases) or 'none'}"
    return Verdict(name, version.name, version.model_sha256, tuple(asked), decision, version.version, now)


def _told(verdict: Verdict) -> str:
    place = f" (version {verdict.version} of {verdict.task})" if verdict.version else ""
    return f"{verdict.decision}{place}: {verdict.why}" + (f" – {verdict.note}" if verdict.note else "")
