"""A drift report as a page of its own: no script, no font, no address to load anything from."""

import html
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from unroll import paths
from unroll.files import write_text
from unroll.scoring.drift import ColumnDrift, DriftReport, Part

_WIDTH, _HEIGHT = 340, 150
_LEFT, _BOTTOM, _TOP = 38, 30, 8
_TRAINING, _NOW = "#9aa5b1", "#1f6fb2"
_MOST_BARS = 24
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1c2733; background: #fff; margin: 2rem auto; max-width: 62rem;
       padding: 0 1rem; }
h1 { font-size: 1.45rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin: 0 0 .3rem; }
p { margin: .3rem 0; max-width: 46rem; } .quiet { color: #5b6874; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .25rem .9rem .25rem 0; border-bottom: 1px solid #e3e8ed; text-align: left; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.over { color: #a3271c; font-weight: 600; }
section { border-top: 1px solid #e3e8ed; padding: 1rem 0; } figure { display: inline-block; margin: .4rem 1.2rem 0 0; }
figcaption { font-size: .8rem; color: #5b6874; } svg text { font: 10px system-ui, sans-serif; fill: #5b6874; }
.key { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 .9em; }
"""
_MEANING = """
<p class="quiet">PSI sums, over parts of the training data, how much their share of the rows has changed: below 0.1
little, from 0.25 on much. KS is the largest gap between the two distribution functions, 0 to 1. A limit that is
exceeded says that rows or answers are no longer what the model learned from; whether it still answers well, only the
truth can tell (<code>unroll score-truth</code>).</p>
"""


def write_page(report: DriftReport, folder: Path = paths.DRIFT) -> Path:
    """Writes the page of a run; its name is the time, so that pages lie in order.

    Args:
        report: Of the run.
        folder: Made if missing.
    """
    now = datetime.now(UTC)
    path = folder / f"{now:%Y%m%dT%H%M%S%f}Z.html"
    write_text(path, page(report, f"{report.model_version.partition('@')[0]}, {now:%Y-%m-%d %H:%M} UTC"))
    return path


def page(report: DriftReport, title: str) -> str:
    """The whole page.

    Args:
        report: Of a run.
        title: Names the run.
    """
    rows = "\n".join(_row(report, one) for one in report.columns)
    sections = "\n".join(_section(one) for one in report.columns)
    verdict = report.verdict()
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Drift: {html.escape(title)}</title><style>{_STYLE}</style></head><body>
<h1>Drift: {html.escape(title)}</h1>
<p>{report.rows:,} rows scored with {html.escape(report.model_version)}, beside what it was trained on.</p>
<p class="{"over" if report.drifted else "quiet"}">{html.escape(verdict[0].upper() + verdict[1:])}.</p>
{_MEANING}
<table><tr><th>column</th><th>of</th><th class="number">values</th><th class="number">PSI</th>
<th class="number">KS</th><th>verdict</th></tr>
<tr class="quiet"><td>limit</td><td></td><td></td><td class="number">{report.psi_limit:g}</td>
<td class="number">{report.ks_limit:g}</td><td>at least {report.min_rows:,} rows</td></tr>
{rows}
</table>
<p class="quiet"><span class="key" style="background:{_TRAINING}"></span>training
<span class="key" style="background:{_NOW}"></span>now</p>
{sections}
</body></html>
"""


def _row(report: DriftReport, one: ColumnDrift) -> str:
    told = next(row for row in report.table() if (row["column"], row["of"]) == (one.name, one.side))

    def cell(name: str, measure: str = "") -> str:
        over = " over" if measure in one.exceeded else ""
        return f'<td class="{"number" if measure else ""}{over}">{html.escape(told[name])}</td>'

    values = f'<td class="number">{told["values"]}</td>'
    return f"<tr>{cell('column')}{cell('of')}{values}{cell('PSI', 'psi')}{cell('KS', 'ks')}{cell('verdict')}</tr>"


def _section(one: ColumnDrift) -> str:
    shares = f"<figure>{_bars(one)}<figcaption>share of the values, by parts of training</figcaption></figure>"
    curves = ""
    if len(one.steps) > 2:
        curves = f"<figure>{_curves(one)}<figcaption>share of the values up to a value</figcaption></figure>"
    return f"<section><h2>{html.escape(one.name)} <small>of the {one.side}</small></h2>{shares}{curves}</section>"


def _svg(title: str, content: Sequence[str]) -> str:
    return (
        f'<svg role="img" width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
        f"<title>{html.escape(title)}</title>{''.join(content)}</svg>"
    )


def _height(share: float, most: float) -> float:
    """Where a share lies on the picture, from its top."""
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - share / most)


def _scale(most: float) -> list[str]:
    """Two lines with their shares."""
    lines = []
    for share in (0.0, most):
        at = _height(share, most)
        lines.append(f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{at:.1f}" y2="{at:.1f}" stroke="#e3e8ed"/>')
        lines.append(f'<text x="{_LEFT - 5}" y="{at + 3:.1f}" text-anchor="end">{share:.0%}</text>')
    return lines


def _bars(one: ColumnDrift) -> str:
    parts = _fewer(one.parts)
    most = max(max(part.training, part.now) for part in parts) or 1.0
    step = (_WIDTH - _LEFT) / len(parts)
    drawn = _scale(most)
    for place, part in enumerate(parts):
        for rank, (share, colour) in enumerate(((part.training, _TRAINING), (part.now, _NOW))):
            left, top = _LEFT + step * (place + 0.1 + 0.4 * rank), _height(share, most)
            told = f"{part.name}: {part.training:.1%} in training, {part.now:.1%} now"
            drawn.append(
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{step * 0.38:.1f}" height="{_height(0, most) - top:.1f}" '
                f'fill="{colour}"><title>{html.escape(told)}</title></rect>'
            )
    # Under the first, the middle and the last, as far as they have room.
    shown = {0, len(parts) // 2, len(parts) - 1} if len(parts) > 10 or one.steps else set(range(len(parts)))
    for place in sorted(shown):
        anchor = {0: "start", len(parts) - 1: "end"}.get(place, "middle") if len(shown) < len(parts) else "middle"
        at = {"start": step * place, "end": step * (place + 1), "middle": step * (place + 0.5)}[anchor]
        name = parts[place].name
        label = html.escape(name if len(name) <= 18 else f"{name[:17]}…")
        drawn.append(f'<text x="{_LEFT + at:.1f}" y="{_HEIGHT - 14}" text-anchor="{anchor}">{label}</text>')
    return _svg(f"{one.name}: shares in training and now", drawn)


def _fewer(parts: Sequence[Part]) -> Sequence[Part]:
    """The parts, the rarest of many together."""
    if len(parts) <= _MOST_BARS:
        return parts
    order = sorted(parts, key=lambda part: -max(part.training, part.now))
    kept, rest = order[: _MOST_BARS - 1], order[_MOST_BARS - 1 :]
    return [*kept, Part(f"{len(rest)} others", sum(p.training for p in rest), sum(p.now for p in rest))]


def _curves(one: ColumnDrift) -> str:
    # The first step lies just below the least training value, which is the second.
    low, high = one.steps[1][0], one.steps[-1][0]
    drawn = _scale(1.0)
    for which, colour in ((1, _TRAINING), (2, _NOW)):
        points, before = [], 0.0
        for step in one.steps:
            across = _LEFT + (_WIDTH - _LEFT - 4) * (step[0] - low) / (high - low)
            points.append(f"{across:.1f},{_height(before, 1.0):.1f} {across:.1f},{_height(step[which], 1.0):.1f}")
            before = step[which]
        drawn.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
    drawn.append(f'<text x="{_LEFT}" y="{_HEIGHT - 14}">{low:.4g}</text>')
    drawn.append(f'<text x="{_WIDTH - 4}" y="{_HEIGHT - 14}" text-anchor="end">{high:.4g}</text>')
    return _svg(f"{one.name}: distribution functions in training and now", drawn)
