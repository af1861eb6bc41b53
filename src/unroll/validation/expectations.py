"""Expectations about data, checked by Great Expectations, with a verdict for machines and Data Docs for people."""

import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from unroll import files
from unroll.errors import ExpectationError

if TYPE_CHECKING:
    import pandas as pd

_EXAMPLES = 3
_SHOWN = 20
"""Rows of a failing expectation that its Data Docs page shows."""
_SITE = "docs"
_RUN_TIME = datetime(2000, 1, 1, tzinfo=UTC)
_STAMP = re.compile(r"\d{8}T\d{6}\.\d{6}Z")
_ID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")


@dataclass(frozen=True)
class Check:
    """One expectation, with the words that people read."""

    what: str
    """What has to hold: `low ≤ open`."""
    frame: str
    """Name of the frame that it is about."""
    kind: str
    """Class name in `great_expectations.expectations`."""
    options: Mapping[str, Any]
    example: str
    """How a failing row is named: `{ticker} {date}: low {low}`, with columns of the frame in braces."""
    explain: str = ""
    """Added where it fails: why, and what to do."""


@dataclass(frozen=True)
class Outcome:
    """What came out of one expectation."""

    what: str
    passed: bool
    failed_rows: int
    examples: list[str]
    explain: str

    def line(self) -> str:
        """One line for the terminal."""
        rows = f"{self.failed_rows:,} row{'' if self.failed_rows == 1 else 's'}"
        first = f", first: {'; '.join(self.examples)}" if self.examples else ""
        return f"{self.what}: {rows}{first}" + (f" — {self.explain}" if self.explain else "")


def schema_frame(found: pa.Schema, expected: pa.Schema) -> "pd.DataFrame":
    """A frame of one row a column, found or expected, to check names and types: column, found, expected."""
    import pandas as pd

    names = [*expected.names, *(name for name in found.names if name not in expected.names)]
    absent = "(none)"
    return pd.DataFrame(
        {
            "column": names,
            "found": [_type(found, name) if name in found.names else absent for name in names],
            "expected": [_type(expected, name) if name in expected.names else absent for name in names],
        }
    )


def _type(schema: pa.Schema, name: str) -> str:
    kind = schema.field(name).type
    if pa.types.is_fixed_size_list(kind):
        # Its own name has the item's field name in it, which Parquet changes and nobody means.
        return f"fixed_size_list<{kind.value_type}>[{kind.list_size}]"
    return str(kind)


def schema_check() -> Check:
    """The check that goes with `schema_frame`, under the frame name `columns`."""
    return Check(
        what="columns have the expected names and types",
        frame="columns",
        kind="ExpectColumnPairValuesToBeEqual",
        options={"column_A": "found", "column_B": "expected"},
        example="{column}: found {found}, expected {expected}",
        explain="run the ingest stage again: it writes these types",
    )


def validate(frames: Mapping[str, "pd.DataFrame"], checks: Sequence[Check], docs: Path) -> list[Outcome]:
    """Runs the checks and writes Data Docs, a small site with `index.html`.

    Two equal runs write equal bytes: run times and random ids are replaced by fixed ones.

    Args:
        frames: Data by name; each becomes an asset and a suite of its own. Rows are numbered from 0.
        checks: In the order in which they are reported.
        docs: A folder; made if missing.
    """
    # Read when the package is imported: a validation of local files has nobody to report to.
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with warnings.catch_warnings():
        # Deprecations inside the package are of no use to whoever validates data.
        warnings.simplefilter("ignore")
        outcomes = _run(frames, checks, docs)
    _normalize(docs)
    return outcomes


def _run(frames: Mapping[str, "pd.DataFrame"], checks: Sequence[Check], docs: Path) -> list[Outcome]:
    import great_expectations as gx
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

    context = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(),
            data_docs_sites={_SITE: _site(docs)},
            progress_bars={"globally": False},
            analytics_enabled=False,
        ),
    )
    data = context.data_sources.add_pandas("unroll")
    outcomes: dict[int, Outcome] = {}
    for name, frame in frames.items():
        places = [place for place, check in enumerate(checks) if check.frame == name]
        if not places:
            continue
        suite = gx.ExpectationSuite(name=name)
        for place in places:
            expectation: Callable[..., Any] = getattr(gx.expectations, checks[place].kind)
            options = {"description": checks[place].what, "meta": {"place": place}, **checks[place].options}
            suite.add_expectation(expectation(**options))
        definition = gx.ValidationDefinition(
            name=name,
            data=data.add_dataframe_asset(name).add_batch_definition_whole_dataframe("whole"),
            suite=context.suites.add(suite),
        )
        result = context.validation_definitions.add(definition).run(
            batch_parameters={"dataframe": frame},
            result_format={"result_format": "SUMMARY", "partial_unexpected_count": _SHOWN},
            run_id=RunIdentifier(run_name="validation", run_time=_RUN_TIME),
        )
        for one in result.results:
            place = one.expectation_config.meta["place"]
            outcomes[place] = _outcome(checks[place], frame, one)
    context.build_data_docs(site_names=[_SITE])
    return [outcomes[place] for place in range(len(checks))]


def _site(docs: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.resolve())},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }


def _outcome(check: Check, frame: "pd.DataFrame", result: Any) -> Outcome:
    if result.success:
        return Outcome(check.what, True, 0, [], "")
    found = result.result or {}
    if "unexpected_count" not in found:
        # The expectation could not be computed at all: a fault of ours, not of the data.
        raise RuntimeError(f"expectation {check.kind} of {check.what!r} broke: {result.exception_info}")
    places = sorted(found.get("partial_unexpected_index_list") or [])[:_EXAMPLES]
    rows = ({str(name): _shown(value) for name, value in frame.iloc[place].items()} for place in places)
    examples = [check.example.format(**row) for row in rows]
    return Outcome(check.what, False, int(found["unexpected_count"]), examples, check.explain)


def _shown(value: Any) -> str:
    if isinstance(value, datetime | date):
        return value.strftime("%Y-%m-%d")
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _normalize(docs: Path) -> None:
    """Replaces run times and random ids in the pages: equal data has to give equal bytes, which DVC hashes."""
    stamp = _RUN_TIME.strftime("%Y%m%dT%H%M%S.%fZ")
    for page in sorted(docs.rglob("*.html")):
        text = page.read_text(encoding="utf-8")
        ids: dict[str, str] = {}

        def number(match: re.Match[str], ids: dict[str, str] = ids) -> str:
            return ids.setdefault(match.group(), f"00000000-0000-0000-0000-{len(ids):012d}")

        files.write_text(page, _ID.sub(number, _STAMP.sub(stamp, text)))


def write_verdict(path: Path, rows: int, outcomes: Sequence[Outcome]) -> None:
    """Writes verdict.json: passed, rows, and for each expectation what, passed, failed_rows and examples."""
    expectations = [
        {"what": one.what, "passed": one.passed, "failed_rows": one.failed_rows, "examples": one.examples}
        for one in outcomes
    ]
    verdict = {"passed": all(one.passed for one in outcomes), "rows": rows, "expectations": expectations}
    files.write_json(path, verdict)


def require(dataset: str, outcomes: Sequence[Outcome]) -> None:
    """Stops where an expectation failed.

    Raises:
        ExpectationError: One line for each failing expectation: what, how many rows, the first of them.
    """
    failed = [one for one in outcomes if not one.passed]
    if failed:
        lines = "".join(f"\n  - {one.line()}" for one in failed)
        raise ExpectationError(f"dataset {dataset} fails {len(failed)} of {len(outcomes)} expectations:{lines}")
