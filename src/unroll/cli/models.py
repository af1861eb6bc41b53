"""The verbs `models` and `lineage` of the command line."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unroll.tracking.versions import Version

MODELS = """\
Registered models: one a task, whose versions are bundles of experiments that passed the gates. The alias `champion`
names the version in use, `challenger` one that passed and has not won, `previous` the champion before.
"""
LINEAGE = """\
Which model, version, run, git commit and data a file of predictions comes from; with a row_id, what was predicted for
that row, or why it was set aside.
"""


def add_verbs(verbs: Any) -> None:
    """Adds the verbs to the command line."""
    models = verbs.add_parser(
        "models", help="registered models: list, show, gate, promote, rollback", description=MODELS
    )
    actions = models.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="every version with its aliases")
    show = actions.add_parser("show", help="what is known of a version, or of all of a model's")
    show.add_argument("model", metavar="NAME", help="the task's name")
    show.add_argument("version", metavar="VERSION", nargs="?", help="a number or an alias (default: all)")
    gate = actions.add_parser("gate", help="examine trained bundles and register those that pass")
    gate.add_argument("experiments", metavar="EXPERIMENT", nargs="*", help="default: all that are not registered yet")
    gate.add_argument("--no-table", action="store_true", help="a line an experiment, and no table at the end")
    promote = actions.add_parser("promote", help="make a version champion, whatever the gates say")
    promote.add_argument("model", metavar="NAME")
    promote.add_argument("version", metavar="VERSION", help="a number or an alias, challenger say")
    rollback = actions.add_parser("rollback", help="make the champion before champion again")
    rollback.add_argument("model", metavar="NAME")
    lineage = verbs.add_parser("lineage", help="where a prediction comes from", description=LINEAGE)
    lineage.add_argument("predictions", metavar="PREDICTIONS", type=Path, help="Parquet file of predictions")
    lineage.add_argument("row", metavar="ROW", nargs="?", help="a row_id")


def run(options: argparse.Namespace) -> None:
    """Runs one of the verbs."""
    if options.verb == "lineage":
        from unroll.promotion.lineage import lineage

        _pairs(lineage(options.predictions, options.row))
    elif options.action == "gate":
        _gate(options.experiments, with_table=not options.no_table)
    elif options.action == "list":
        _list()
    elif options.action == "show":
        _show(options.model, options.version)
    else:
        from unroll.promotion import promote

        if options.action == "rollback":
            print(promote.rollback(options.model))
        else:
            print(promote.promote(options.model, options.version))


def _gate(names: list[str], *, with_table: bool) -> None:
    from unroll.promotion import promote, results

    there = results.exported()
    wanted = list(dict.fromkeys(names)) or promote.unregistered(there)
    if not wanted and there:
        print(f"All {len(there)} bundles are registered: `unroll models list`")
    elif not wanted:
        print("No experiment has a bundle: `make run` trains and exports all, `unroll export EXPERIMENT` one")
    else:
        verdicts = promote.gate(wanted, say=print)
        if with_table:
            results.show(verdicts)


def _list() -> None:
    from unroll.tracking import registry

    found = registry.versions()
    if not found:
        print("Nothing is registered; `unroll models gate` examines what was trained")
        return
    for name in dict.fromkeys(one.name for one in found):
        print(name)
        for one in (one for one in found if one.name == name):
            aliases = ", ".join(one.aliases)
            print(f"  {one.version:>4}  {one.created:%Y-%m-%d %H:%M}  {one.model_version:<44}  {aliases}".rstrip())


def _show(name: str, version: str | None) -> None:
    from unroll.tracking import registry

    found = [registry.version_of(name, version)] if version else registry.versions(name)
    if not found:
        registry.version_of(name, registry.CHAMPION)  # says what there is
    for place, one in enumerate(found):
        if place:
            print()
        _pairs(_about(one))


def _about(one: "Version") -> list[tuple[str, str]]:
    from unroll.promotion.gates import GATES, tag_name

    dirty = " with changes that were not committed" if one.tags.get("unroll.git_dirty") == "true" else ""
    commit = one.tags.get("unroll.git_commit", "None")
    found = [
        ("version", f"{one.name} {one.version}, registered {one.created:%Y-%m-%d %H:%M} UTC"),
        ("aliases", ", ".join(one.aliases) or "none"),
        ("model", one.model_version),
        ("SHA-256", one.model_sha256),
        ("run", one.run_id),
        ("git commit", "not known" if commit == "None" else commit + dirty),
        *(("data", f"{path}, DVC md5 {md5}") for path, md5 in sorted(one.data.items())),
    ]
    return found + [(gate, said) for gate in GATES if (said := one.tags.get(tag_name(gate)))]


def _pairs(found: list[tuple[str, str]]) -> None:
    width = max(len(what) for what, _ in found)
    for what, value in found:
        print(f"{what:<{width}}  {value}")
