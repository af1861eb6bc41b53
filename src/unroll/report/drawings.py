"""Drawings of the report as inline SVG. Colors come from the page's style sheet."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby, pairwise
from typing import Any

Points = Sequence[tuple[float, float]]

_PITCH, _BOX, _ROW, _LEFT = 62, 32, 52, 118
"""Distance of time steps, width of a box, distance of layers, width of the labels on the left."""
_COLORS = 8


@dataclass(frozen=True)
class _Column:
    """A time step: its position, what goes in, and what comes out; empty where nothing does."""

    x: int
    into: str
    out: str


def describe(model: Mapping[str, Any], topology: str) -> str:
    """Return a sentence about a network."""
    encoder, decoder = model.get("encoder", model), model.get("decoder")
    parts = [", ".join(_layer_names(encoder))]
    if encoder.get("bidirectional"):
        parts[0] += ", in both directions"
    if convolutions := encoder.get("convolutions"):
        parts[0] = f"convolutions {', '.join(str(one['channels']) for one in convolutions)}, then {parts[0]}"
    if topology == "many_to_one":
        pooled = {"max": "maximum over time", "mean": "mean over time"}
        parts.append(pooled.get(encoder.get("pooling", ""), "last state"))
    if decoder:
        parts[0] = f"encoder {parts[0]}" + (", source reversed" if model.get("reverse_source") else "")
        parts.append(f"decoder {decoder['cell'].upper()} {decoder['units']}")
        if attention := decoder.get("attention"):
            parts.append(f"{attention} attention")
    return f"{topology.replace('_', ' ').capitalize()}: {'; '.join(parts)}."


def network(model: Mapping[str, Any], topology: str) -> str:
    """Draw a network, unrolled over a few time steps.

    Args:
        model: Its section in params.yaml.
        topology: Name of the topology.
    """
    encoder, decoder = model.get("encoder", model), model.get("decoder")
    dense, both = encoder["kind"] == "dense", bool(encoder.get("bidirectional"))
    labels = _layers(encoder)
    columns = _columns(model, topology, steps=1 if dense else 3 if decoder else 4)
    pooled = topology == "many_to_one" and (both or "pooling" in encoder)
    attention = decoder.get("attention") if decoder else None
    top = 100 if pooled or attention else 62
    bottom = top + _ROW * len(labels)
    parts = [_text(0, bottom + 15, f"embedding {model['embedding']['size']}" if "size" in model.get("embedding", {})
                   else "input")]  # fmt: skip
    for number, label in enumerate(reversed(labels)):
        y = top + _ROW * number
        parts += [_text(0, y + 15, label), *_layer(columns, y, both=both, dense=dense)]
    parts += [part for column in columns for part in _input(column, bottom)]
    if pooled:
        pooling = encoder.get("pooling", "last state of each direction")
        parts += _bar(columns, top, pooling if pooling.startswith("last") else f"{pooling} over time",
                      every=not pooling.startswith("last"))  # fmt: skip
    writers = columns
    if decoder:
        writers = _decoder_columns(columns)
        parts += _decoder(columns, writers, top, f"{decoder['cell'].upper()} {decoder['units']}", attention)
    for column in writers:
        if column.out:
            y, shift = (44, 0) if pooled else (top, 7 if attention else 0)
            parts += [_box(column.x, 4, column.out, "out"), _arrow(column.x + 16 + shift, y, column.x + 16 + shift, 28)]
    if topology in ("one_to_many", "sequence_to_sequence"):
        below = top + _ROW if decoder else bottom
        parts += [_feedback(one, other, below) for one, other in pairwise(writers)]
    width = writers[-1].x + _BOX + (80 if decoder else 8)
    return _svg(width, bottom + 30, describe(model, topology), parts, "network")


def _layer_names(encoder: Mapping[str, Any]) -> Iterator[str]:
    for name, group in groupby(_layers(encoder)):
        count = len(list(group))
        yield f"{count} × {name}" if count > 1 else name


def _layers(encoder: Mapping[str, Any]) -> list[str]:
    if encoder["kind"] == "dense":
        return [f"dense {units}" for units in encoder["units"]]
    return [f"{layer['cell'].upper()} {layer['units']}" for layer in encoder["layers"]]


def _columns(model: Mapping[str, Any], topology: str, steps: int) -> list[_Column]:
    order = range(steps, 0, -1) if model.get("reverse_source") else range(1, steps + 1)
    generates = topology == "one_to_many" and "decoder" not in model
    into = ["x"] if steps == 1 else [_indexed("y", step - 1) if generates else _indexed("x", step) for step in order]
    out = [""] * steps
    if generates or topology == "many_to_many":
        out = [_indexed("y", step) for step in range(1, steps + 1)]
    elif "decoder" not in model:
        pooled = "pooling" in model or model.get("bidirectional")
        out[steps // 2 if pooled else -1] = "y"
    return [_Column(_LEFT + _PITCH * place, *pair) for place, pair in enumerate(zip(into, out, strict=True))]


def _decoder_columns(columns: Sequence[_Column]) -> list[_Column]:
    first = columns[-1].x + _PITCH + 18
    return [_Column(first + _PITCH * step, _indexed("y", step), _indexed("y", step + 1)) for step in range(3)]


def _layer(columns: Sequence[_Column], y: int, *, both: bool, dense: bool) -> Iterator[str]:
    """Draw the boxes of a layer, the way of its state, and what goes in from below."""
    for column in columns:
        for top, height in ((y, 10), (y + 14, 10)) if both else ((y, 24),):
            yield f'<rect class="cell" x="{column.x}" y="{top}" width="{_BOX}" height="{height}" rx="3"/>'
        yield _arrow(column.x + 16, y + _ROW, column.x + 16, y + 24)
    if dense:
        return
    for one, other in pairwise(columns):
        yield _arrow(one.x + _BOX, y + (19 if both else 12), other.x, y + (19 if both else 12))
        if both:
            yield _arrow(other.x, y + 5, one.x + _BOX, y + 5)


def _decoder(
    columns: Sequence[_Column], writers: Sequence[_Column], top: int, label: str, attention: str | None
) -> Iterator[str]:
    yield from _layer(writers, top, both=False, dense=False)
    yield from (part for column in writers for part in _input(column, top + _ROW))
    yield _arrow(columns[-1].x + _BOX, top + 12, writers[0].x, top + 12)
    yield _text(writers[-1].x + _BOX + 8, top + 15, label)
    if attention:
        yield from _bar(columns, top, attention if len(columns) == 1 else f"{attention} attention", every=True)
        end = writers[-1].x + 8
        yield f'<path class="look" d="M{columns[-1].x + _BOX},60 H{end}"/>'
        yield from (_arrow(column.x + 8, 60, column.x + 8, top, "look") for column in writers)


def _bar(columns: Sequence[_Column], top: int, label: str, *, every: bool) -> Iterator[str]:
    """Draw what combines the outputs of all steps, or the last state of each direction."""
    left, right = columns[0].x, columns[-1].x + _BOX
    yield f'<rect class="pool" x="{left}" y="48" width="{right - left}" height="24" rx="4"/>'
    yield _text((left + right) // 2, 64, label, "middle")
    for column in columns if every else (columns[0], columns[-1]):
        yield _arrow(column.x + 16, top, column.x + 16, 72)


def _input(column: _Column, y: int) -> Iterator[str]:
    yield _box(column.x, y, column.into, "in")


def _feedback(one: _Column, other: _Column, y: int) -> str:
    """Draw the way of an output that is the next step's input."""
    middle = one.x + _BOX + 11
    return f'<path class="back" d="M{one.x + _BOX},16 H{middle} V{y + 12} H{other.x}" marker-end="url(#tip)"/>'


def _box(x: int, y: int, label: str, kind: str) -> str:
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{_BOX}" height="24" rx="12"/>' + _text(
        x + 16, y + 16, label, "middle"
    )


def _arrow(x: int, y: int, to_x: int, to_y: int, kind: str = "flow") -> str:
    return f'<path class="{kind}" d="M{x},{y} L{to_x},{to_y}" marker-end="url(#tip)"/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def _indexed(name: str, number: int) -> str:
    return name + "₀₁₂₃₄"[number]


def _svg(width: int, height: int, label: str, parts: Sequence[str], kind: str) -> str:
    return (
        f'<svg class="{kind}" role="img" aria-label="{escape(label)}" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">{"".join(parts)}</svg>'
    )


TIP = (
    '<svg width="0" height="0" aria-hidden="true" class="defs"><defs><marker id="tip" viewBox="0 0 8 8" refX="7" '
    'refY="4" markerWidth="5" markerHeight="5" orient="auto"><path d="M0,0 L8,4 L0,8 z"/></marker></defs></svg>'
)
"""The head of all arrows, which a page holds once."""


def chart(title: str, lines: Sequence[tuple[str, Points]], *, log: bool = False, x_label: str = "epoch") -> str:
    """Draw lines, with a key below; lines of one name share a color.

    Args:
        title: What is drawn.
        lines: Name and points of each line.
        log: Use a logarithmic scale, unless a value is not positive.
        x_label: What the horizontal axis counts.
    """
    values = [y for _, points in lines for _, y in points]
    steps = [x for _, points in lines for x, _ in points]
    log = log and min(values) > 0
    scaled = math.log10 if log else float
    low, high, first, last = scaled(min(values)), scaled(max(values)), min(steps), max(steps)
    digits = ".2g" if log else ".3g"
    tall, wide = high - low or 1.0, last - first or 1.0
    parts = [_text(0, 12, title + (", logarithmic" if log else ""))]
    for share in (0.0, 0.5, 1.0):
        y, value = 126 - 100 * share, low + tall * share
        parts += [f'<path class="grid" d="M46,{y:g} H296"/>']
        parts += [_text(41, y + 4, f"{10**value if log else value:{digits}}", "end")]
    parts += [_text(46, 142, f"{first:g}"), _text(296, 142, f"{last:g}", "end"), _text(171, 142, x_label, "middle")]
    names = list(dict.fromkeys(name for name, _ in lines))
    for name, points in lines:
        places = [f"{46 + 250 * (x - first) / wide:.1f},{126 - 100 * (scaled(y) - low) / tall:.1f}" for x, y in points]
        # A line of one epoch is a dot: its caps are round.
        parts.append(
            f'<path class="line c{names.index(name) % _COLORS}" d="M{" L".join(places)}{" h0" * (len(points) < 2)}"/>'
        )
    ranges = (f"{name} {points[0][1]:.3g} to {points[-1][1]:.3g}" for name, points in lines[:_COLORS])
    drawn = _svg(300, 146, f"{title}: {', '.join(ranges)}", parts, "chart")
    keys = (f'<span class="key c{number % _COLORS}">{escape(name)}</span>' for number, name in enumerate(names))
    return f"<figure>{drawn}<figcaption>{' '.join(keys)}</figcaption></figure>"


def interval(skill: float | None, bounds: Sequence[float] | None, kind: str) -> str:
    """Draw the difference to a baseline, from −100 % to +100 %, with its interval."""
    if skill is None:
        return ""

    def place(value: float) -> float:
        return 60 + 56 * max(-1.0, min(1.0, value))

    low, high = bounds or (skill, skill)
    parts = [
        '<path class="grid" d="M60,0 V16"/>',
        f'<path class="line {kind}" d="M{place(low):.1f},8 H{place(high):.1f}"/>',
        f'<circle class="{kind}" cx="{place(skill):.1f}" cy="8" r="4"/>',
    ]
    return (
        f'<svg class="interval" aria-hidden="true" viewBox="0 0 120 16" width="120" height="16">{"".join(parts)}</svg>'
    )
