"""Commands for models in use: scoring, back-test, registry, lineage."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from unroll.errors import ParameterError, ServiceUnavailable, TrackingError
from unroll.redaction import redacted

if TYPE_CHECKING:
    from unroll.scoring.report import JobReport

SCORE = """\
Score the new files of an inbox, each exactly once: every row ends up in the output or, with a reason, in quarantine.

Defaults are in params.yaml under `scoring`. Places are folders, or addresses such as s3://bucket/inbox; keys of object
stores are read from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL).
"""
SCORE_OPTIONS = {
    "model": "models:/NAME@ALIAS, models:/NAME/VERSION, or the folder of a bundle",
    "input": "the inbox; its files stay where they are",
    "output": "gets NAME.parquet for each file NAME, and a marker in _scored/",
    "quarantine": "gets NAME.parquet for rows that cannot be scored, NAME.reason.json for such files",
}
BACKTEST = """\
Compare predictions with what turned out to be true, joined on row_id (and on file, where the truth has it). Prints live
metrics beside those of the test split, and logs them to MLflow's experiment `live`. Rows without a partner are counted
and named.
"""
MODELS = """\
Registered models: one per task, whose versions are bundles that the gates did not refuse. The alias `champion` names
the version in use, `challenger` one that passed without being better, `previous` the champion before.
"""
LINEAGE = """\
Show which model, version, run, git commit and data a file of predictions comes from; with a row_id, also what was
predicted for that row, or why it was set aside.
"""


def _configure_score(command: argparse.ArgumentParser) -> None:
    command.description = SCORE
    command.set_defaults(run=_score)
    for name, text in SCORE_OPTIONS.items():
        command.add_argument(f"--{name}", metavar="ADDRESS", help=text)
    shadow = "score with the model and into the folders of `shadow` in params.yaml instead"
    command.add_argument("--shadow", action="store_true", help=shadow)
    again = "also score files again that another model has scored: the new predictions replace the old, file by file"
    command.add_argument("--rescore", action="store_true", help=again)
    since = "with --rescore: only files scored since then, such as 2026-11-01 or 2026-11-01T06:00+01:00 (default: UTC)"
    command.add_argument("--since", metavar="DATE", type=_date, help=since)


def _configure_backtest(command: argparse.ArgumentParser) -> None:
    command.description = BACKTEST
    command.set_defaults(run=_backtest)
    command.add_argument("predictions", metavar="PREDICTIONS", type=Path, help="a file that unroll wrote, or a folder")
    command.add_argument("truth", metavar="TRUTH", type=Path, help="Parquet or CSV with row_id, or a folder of them")
    command.add_argument("--column", metavar="NAME", help="the true values (default: truth, or the only other column)")
    command.add_argument("--model", metavar="ADDRESS", help="if the predictions name none: a bundle, or models:/…")
    shadow = "predictions of another model for the same files, such as data/shadow/predictions; compares the two"
    command.add_argument("--shadow", metavar="PREDICTIONS", type=Path, help=shadow)


def _configure_models(command: argparse.ArgumentParser) -> None:
    command.description = MODELS
    actions = command.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list every version with its aliases")
    listing.set_defaults(run=_list)
    show = actions.add_parser("show", help="show what is known about a version, or about all versions of a model")
    show.set_defaults(run=_show)
    show.add_argument("model", metavar="NAME", help="the task's name")
    show.add_argument("version", metavar="VERSION", nargs="?", help="a number or an alias (default: all)")
    gate = actions.add_parser("gate", help="run the gates on trained bundles and register those that pass")
    gate.set_defaults(run=_gate)
    gate.add_argument("experiments", metavar="EXPERIMENT", nargs="*", help="default: all with a new bundle")
    promote = actions.add_parser("promote", help="make a version champion, whatever the gates say")
    promote.set_defaults(run=_promote)
    promote.add_argument("model", metavar="NAME")
    promote.add_argument("version", metavar="VERSION", help="a number or an alias, such as challenger")
    rollback = actions.add_parser("rollback", help="make the previous champion champion again")
    rollback.set_defaults(run=_rollback)
    rollback.add_argument("model", metavar="NAME")


def _configure_lineage(command: argparse.ArgumentParser) -> None:
    command.description = LINEAGE
    command.set_defaults(run=_lineage)
    command.add_argument("predictions", metavar="PREDICTIONS", type=Path, help="Parquet file of predictions")
    command.add_argument("row", metavar="ROW", nargs="?", help="a row_id")


def _date(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date such as 2026-11-01") from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _score(options: argparse.Namespace) -> None:
    from unroll.config.reading import load_all
    from unroll.scoring.job import score_inbox, shadow_of

    given = {name: getattr(options, name) for name in SCORE_OPTIONS if getattr(options, name) is not None}
    scoring = load_all().scoring.model_copy(update=given)
    if options.shadow:
        if given.keys() - {"input"}:
            raise ParameterError("--shadow takes its model and folders from params.yaml; leave the other options out")
        scoring = shadow_of(scoring)
    if options.since and not options.rescore:
        raise ParameterError("--since says which files --rescore scores again; give both")
    since = (options.since or datetime.min.replace(tzinfo=UTC)) if options.rescore else None
    show = partial(_show_job, kind="shadow" if options.shadow else "scoring")
    report = score_inbox(scoring, on_file=print, on_stop=show, rescore_since=since)
    show(report)
    report.require_no_failure()


def _show_job(report: "JobReport", kind: str) -> None:
    print(report.summary())
    if not report.of("scored"):
        return
    page = None
    if report.drift:
        from unroll.scoring.drift_page import write_page

        page = write_page(report.drift)
        print(f"{report.drift.verdict()}; see {page}")
    if report.registered:
        # Models in folders have nothing to do with MLflow, which takes seconds to import.
        from unroll.scoring.registered import log_job

        try:
            log_job(report, page, kind)
        except (ServiceUnavailable, TrackingError) as error:
            print(redacted(f"unroll score: the job was not logged to MLflow: {error}"), file=sys.stderr)


def _backtest(options: argparse.Namespace) -> None:
    from unroll.scoring.registered import backtest

    chosen = {name: getattr(options, name) for name in ("column", "model", "shadow")}
    for line in backtest(options.predictions, options.truth, **chosen):
        print(line)


def _gate(options: argparse.Namespace) -> None:
    from unroll.promotion import promote, results
    from unroll.tracking import send_results

    names = list(dict.fromkeys(options.experiments)) or results.unexamined()
    if names:
        send_results(names)
        results.show(promote.gate(names, report=print))
    elif exported := results.exported():
        print(f"The gates have examined all {len(exported)} bundles; see `unroll models list`")
    else:
        print("No experiment has a bundle: `make run` trains and exports all, `unroll export EXPERIMENT` one")


def _promote(options: argparse.Namespace) -> None:
    from unroll.promotion import promote

    print(promote.promote(options.model, options.version))


def _rollback(options: argparse.Namespace) -> None:
    from unroll.promotion import promote

    print(promote.rollback(options.model))


def _list(_: argparse.Namespace) -> None:
    from unroll.tracking import registry

    versions = registry.versions()
    if not versions:
        print("Nothing is registered; `unroll models gate` runs the gates on what was trained")
    for name in dict.fromkeys(one.name for one in versions):
        print(name)
        for one in (one for one in versions if one.name == name):
            aliases = ", ".join(one.aliases)
            print(f"  {one.version:>4}  {one.created:%Y-%m-%d %H:%M}  {one.model_version:<44}  {aliases}".rstrip())


def _show(options: argparse.Namespace) -> None:
    from unroll.promotion.lineage import describe
    from unroll.tracking import registry

    name, version = options.model, options.version
    versions = [] if version else registry.versions(name)
    for place, one in enumerate(versions or [registry.version_of(name, version or registry.CHAMPION)]):
        if place:
            print()
        _print_table(describe(one))


def _lineage(options: argparse.Namespace) -> None:
    from unroll.promotion.lineage import lineage

    _print_table(lineage(options.predictions, options.row))


def _print_table(rows: Sequence[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")


COMMANDS = {
    "score": ("score the new files of an inbox, each exactly once", _configure_score),
    "backtest": ("compare predictions with what turned out to be true", _configure_backtest),
    "models": ("registered models: list, show, gate, promote, rollback", _configure_models),
    "lineage": ("show where predictions come from: model, run, commit, data", _configure_lineage),
}
