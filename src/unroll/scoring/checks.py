"""Rows against the expectations that travel with a model, checked by Great Expectations.

A validation costs as much for one row as for thousands, so rows come in chunks, and suite and batch definition are made
once.
"""

import gc
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.inference.batches import Check
from unroll.inference.bundle import Bundle
from unroll.inference.profile import profile_of
from unroll.inference.reference import Expectation

if TYPE_CHECKING:
    import pandas as pd

_Rows = Mapping[str, NDArray[np.float64]]
_Validate = Callable[[_Rows], dict[int, str]]
CHUNK = 1 << 16
"""Rows that are validated together, at most: what Great Expectations holds of a row is many times the row."""
_FORMAT = {"result_format": "COMPLETE", "return_unexpected_index_query": False}


def checks_of(bundle: Bundle) -> Check | None:
    """What tells the FileScorer which rows of a reader's batch fail, and why; None for a bundle without expectations.

    Great Expectations takes seconds to import. That begins here and goes on beside the caller, who has a file to hash
    and to read before there are rows to check.
    """
    if not bundle.expectations:
        return None
    aside = ThreadPoolExecutor(1)
    made = aside.submit(validator, bundle.expectations)
    aside.shutdown(wait=False)

    def check(batch: pa.RecordBatch) -> dict[int, str]:
        return made.result()(profile_of(batch))

    return check


def failing(rows: _Rows, expectations: Sequence[Expectation]) -> dict[int, str]:
    """Which rows fail, and why.

    Args:
        rows: Columns of a profile, float64 [row].
        expectations: About these columns.

    Returns:
        Row → reason: `the image is not blank: ink is 0, expected more than 0`; several are joined by semicolons.
    """
    return validator(expectations)(rows) if expectations else {}


def validator(expectations: Sequence[Expectation]) -> _Validate:
    """The same for many calls: what does not depend on the rows is made here."""
    # Read when the package is imported: a check of one's own rows has nobody to report to.
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with warnings.catch_warnings():
        # Deprecations inside the package are of no use to whoever scores.
        warnings.simplefilter("ignore")
        validate = _validation(expectations)

    def of_rows(rows: _Rows) -> dict[int, str]:
        import pandas as pd

        found: dict[int, str] = {}
        count = len(next(iter(rows.values())))
        for start in range(0, count, CHUNK):
            frame = pd.DataFrame({name: values[start : start + CHUNK] for name, values in rows.items()})
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = validate(frame)
            for place, reason in _reasons(frame, result, expectations).items():
                found[start + place] = reason
        return found

    return of_rows


def _validation(expectations: Sequence[Expectation]) -> Callable[["pd.DataFrame"], Any]:
    import great_expectations as gx
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

    # What the package leaves in memory stays until the process ends; to look it through once more takes a second then.
    if not gc.get_freeze_count():
        gc.freeze()
    context = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(),
            progress_bars={"globally": False},
            analytics_enabled=False,
        ),
    )
    suite = gx.ExpectationSuite(name="rows")
    for place, one in enumerate(expectations):
        options = one.options.model_dump() if one.options.allow() else {}
        kind: Callable[..., Any] = getattr(gx.expectations, one.kind)
        suite.add_expectation(kind(column=one.column, meta={"place": place}, **options))
    rows = context.data_sources.add_pandas("scoring").add_dataframe_asset("rows")
    definition = rows.add_batch_definition_whole_dataframe("whole")
    suite = context.suites.add(suite)

    def validate(frame: "pd.DataFrame") -> Any:
        return definition.get_batch({"dataframe": frame}).validate(suite, result_format=_FORMAT)

    return validate


def _reasons(frame: "pd.DataFrame", result: Any, expectations: Sequence[Expectation]) -> dict[int, str]:
    """Row of the frame → what of it fails, in the order of the expectations."""
    reasons: dict[int, list[str]] = {}
    for one in sorted(result.results, key=lambda one: int(one.expectation_config.meta["place"])):
        if one.success:
            continue
        expectation = expectations[one.expectation_config.meta["place"]]
        places = (one.result or {}).get("unexpected_index_list")
        if places is None:
            # The expectation could not be computed at all: a fault of ours, not of the rows.
            raise RuntimeError(f"expectation {expectation.what!r} broke: {one.exception_info}")
        allowed = expectation.options.allow() or "a number"
        values = frame[expectation.column].to_numpy()
        for place in places:
            told = f"{expectation.what}: {expectation.column} is {values[place]:.6g}, expected {allowed}"
            reasons.setdefault(int(place), []).append(told)
    return {place: "; ".join(told) for place, told in sorted(reasons.items())}
