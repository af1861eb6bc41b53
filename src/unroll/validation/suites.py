"""Great Expectations suites: run them, write verdict.json and Data Docs, report what failed."""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

from unroll import files
from unroll.errors import ExpectationError

Suites = Sequence[tuple[pd.DataFrame, Any]]
"""Data frames, each with its `gx.ExpectationSuite`.

The suite's `meta["row"]` lists the columns that identify a row in messages. Every expectation has a `description`,
unique in its suite, and may have `notes`: its parameter in params.yaml, or what to do.
"""

_EXAMPLES = 3
_SITE = "docs"
_RUN_TIME = datetime(2000, 1, 1, tzinfo=UTC)
_TIME = re.compile(r"\d{8}T\d{6}\.\d{6}Z")
_ID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")


@dataclass(frozen=True)
class Outcome:
    """The result of an expectation.

    Attributes:
        expectation: Its description.
        passed: Whether the data fulfills it.
        failed_rows: Number of rows that do not; None if it is about the table as a whole.
        examples: The first of these rows, or what was found.
        notes: Notes of the expectation.
    """

    expectation: str
    passed: bool
    failed_rows: int | None
    examples: list[str]
    notes: str

    def __str__(self) -> str:
        """Return one line for the terminal."""
        rows = "" if self.failed_rows is None else f"{self.failed_rows:,} row{'s' * (self.failed_rows != 1)}, first: "
        return f"{self.expectation}: {rows}{'; '.join(self.examples)}" + (f" ({self.notes})" if self.notes else "")


def run_suites(suites: Suites, docs: Path) -> list[Outcome]:
    """Run suites, and write Data Docs, a small site with `index.html`, into the folder `docs`.

    Equal data gives equal bytes: run times and random ids in the pages are replaced by fixed ones.
    """
    store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.resolve())}
    site = {"class_name": "SiteBuilder", "show_how_to_buttons": False, "store_backend": store}
    site["site_index_builder"] = {"class_name": "DefaultSiteIndexBuilder"}
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        data_docs_sites={_SITE: site},
        progress_bars={"globally": False},
    )
    with warnings.catch_warnings():
        # Deprecations inside the package are of no use to whoever validates data.
        warnings.simplefilter("ignore")
        context = gx.get_context(mode="ephemeral", project_config=config)
        source = context.data_sources.add_pandas("unroll")
        outcomes = [outcome for frame, suite in suites for outcome in _run(context, source, frame, suite)]
        context.build_data_docs(site_names=[_SITE])
    _normalize(docs)
    return outcomes


def _run(context: Any, source: Any, frame: pd.DataFrame, suite: Any) -> list[Outcome]:
    batch = source.add_dataframe_asset(suite.name).add_batch_definition_whole_dataframe("all rows")
    definition = gx.ValidationDefinition(name=suite.name, data=batch, suite=context.suites.add(suite))
    done = context.validation_definitions.add(definition).run(
        batch_parameters={"dataframe": frame},
        result_format={"result_format": "SUMMARY", "unexpected_index_column_names": suite.meta["row"]},
        run_id=RunIdentifier(run_name="validation", run_time=_RUN_TIME),
    )
    results = {one.expectation_config.description: one for one in done.results}
    return [_outcome(results[one.description], suite.meta["row"]) for one in suite.expectations]


def _outcome(done: Any, row: Sequence[str]) -> Outcome:
    config, result = done.expectation_config, done.result
    if not (done.success or result):
        raise RuntimeError(f"the expectation {config.description!r} cannot be evaluated: {done.exception_info}")
    failed_rows = result.get("unexpected_count") if "element_count" in result else None
    examples: list[str] = []
    if not done.success:
        if failed_rows is not None:
            examples = [_format_row(one, row) for one in result["partial_unexpected_index_list"][:_EXAMPLES]]
        elif "partial_missing_list" in result:
            examples = [f"missing {', '.join(map(str, sorted(result['partial_missing_list'])))}"]
        else:
            examples = [f"found {_format(result['observed_value'])}"]
    return Outcome(config.description, done.success, failed_rows, examples, config.notes or "")


def _format_row(values: Mapping[str, Any], row: Sequence[str]) -> str:
    """Return `row_id=7, text='film 6', characters=6`: first what identifies the row."""
    return ", ".join(f"{name}={_format(values[name])}" for name in dict.fromkeys([*row, *values]))


def _format(value: Any) -> str:
    if pd.isna(value):
        return "null"
    if isinstance(value, date):
        return value.strftime("%Y-%m-%d")
    return f"{value:.6g}" if isinstance(value, float) else repr(value) if isinstance(value, str) else str(value)


def _normalize(docs: Path) -> None:
    """Replace run times and random ids in the pages, which DVC hashes."""
    for page in sorted(docs.rglob("*.html")):
        text = _TIME.sub(_RUN_TIME.strftime("%Y%m%dT%H%M%S.%fZ"), page.read_text(encoding="utf-8"))
        for number, found in enumerate(dict.fromkeys(_ID.findall(text))):
            text = text.replace(found, f"00000000-0000-0000-0000-{number:012d}")
        files.write_text(page, text)


def write_verdict(path: Path, rows: int, outcomes: Sequence[Outcome]) -> None:
    """Write verdict.json: passed, rows, and the outcome of each expectation."""
    passed = all(one.passed for one in outcomes)
    files.write_json(path, {"passed": passed, "rows": rows, "expectations": [asdict(one) for one in outcomes]})


def require_passed(name: str, outcomes: Sequence[Outcome]) -> None:
    """Raise an ExpectationError if an expectation of dataset `name` failed, with a line for each of them."""
    failed = [one for one in outcomes if not one.passed]
    if failed:
        lines = "".join(f"\n  - {one}" for one in failed)
        raise ExpectationError(f"dataset {name} fails {len(failed)} of {len(outcomes)} expectations:{lines}")
