"""A drift report as a small HTML page with its pictures inside, so that it can be mailed or kept."""

import base64
import html
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from unroll import paths
from unroll.files import write_text
from unroll.plotting.drift import drift_png
from unroll.scoring.drift import DriftReport, Part

_MAX_BARS = 24
_STYLE = "body {font: 15px sans-serif; margin: 2em} td, th {padding: .2em 1em .2em 0; text-align: left}"
_MEANING = (
    "PSI adds up how much the shares of ten parts of the training data have changed: below 0.1 is little, 0.25 and "
    "more is much. KS is the largest gap between the two distribution functions, from 0 to 1. Beyond a limit, rows or "
    "predictions are no longer what the model learned from; only the truth can show whether it is still right."
)


def write_page(report: DriftReport, folder: Path = paths.DRIFT) -> Path:
    """Write the page of a job; pages are named by time, so that they sort."""
    now = datetime.now(UTC)
    path = folder / f"{now:%Y%m%dT%H%M%S%f}Z.html"
    write_text(path, page(report, f"{report.model_version.partition('@')[0]}, {now:%Y-%m-%d %H:%M} UTC"))
    return path


def page(report: DriftReport, title: str) -> str:
    """Return the page as HTML: verdict, one table row per column, and a picture of every column."""
    table = report.table()
    head = "".join(f"<th>{html.escape(name)}</th>" for name in (table[0] if table else ()))
    rows = "".join(f"<tr>{''.join(f'<td>{html.escape(value)}</td>' for value in row.values())}</tr>\n" for row in table)
    # The first step is just below the least training value, which is the second.
    panels = [
        (f"{one.name} ({one.side})", _common(one.parts), one.steps[1:] if len(one.steps) > 2 else ())
        for one in report.columns
    ]
    title = html.escape(title)
    picture = base64.b64encode(drift_png(panels)).decode() if panels else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Drift: {title}</title><style>{_STYLE}</style></head><body>
<h1>Drift: {title}</h1>
<p>{report.rows:,} rows scored with {html.escape(report.model_version)}, compared with its training data.</p>
<p><strong>{html.escape(report.verdict())}</strong></p>
<p>{_MEANING} Limits: PSI {report.psi_limit:g}, KS {report.ks_limit:g}, at least {report.min_rows:,} rows.</p>
<table><tr>{head}</tr>
{rows}</table>
<img alt="shares and distribution functions of every column" src="data:image/png;base64,{picture}">
</body></html>
"""


def _common(parts: Sequence[Part]) -> Sequence[Part]:
    if len(parts) <= _MAX_BARS:
        return parts
    order = sorted(parts, key=lambda part: -max(part.training, part.now))
    kept, rest = order[: _MAX_BARS - 1], order[_MAX_BARS - 1 :]
    return [*kept, Part(f"{len(rest)} others", sum(p.training for p in rest), sum(p.now for p in rest))]
