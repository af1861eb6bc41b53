"""Heat maps of attention weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll.plotting.figures import entitle, figure, save

CELL = 0.24
"""Width and height of one weight, in inches."""
LETTER = 0.075
"""Width of a letter of the tokens along the axes, in inches."""
MAX_WIDTH = 13.0
"""Width of the figure, in inches, unless a single map is wider."""

Example = tuple[Sequence[str], Sequence[str], NDArray[np.floating[Any]]]


def attention_maps(path: Path, title: str, examples: Sequence[Example]) -> None:
    """Plot a heat map for each example, with source tokens across and target tokens down.

    Args:
        path: PNG to write.
        title: Title of the figure.
        examples: Source tokens, target tokens, and weights float [target, source], possibly padded.
    """
    rows = _rows(examples)
    width = max(max(sum(_size(one)[0] for one in row) for row in rows), 4.0) + 0.9
    heights = [max(_size(one)[1] for one in row) for row in rows]
    height = max(sum(heights) + 0.5, 2.5)
    drawn, axis = figure(width=width, height=height)
    axis.remove()
    # An automatic layout would give short sentences larger cells.
    drawn.set_layout_engine("none")
    top = height - 0.5
    for row, tall in zip(rows, heights, strict=True):
        left = 0.0
        for one in row:
            source, target, weights = one
            across, down = len(source) * CELL, len(target) * CELL
            wide = _size(one)[0]
            bottom = top - _header_height(source) - down
            place = ((left + wide - across - 0.15) / width, bottom / height, across / width, down / height)
            picture = _draw(drawn.add_axes(place), source, target, weights)
            left += wide
        top -= tall
    bar = drawn.add_axes(((width - 0.7) / width, 0.2, 0.12 / width, 0.6))
    drawn.colorbar(picture, cax=bar).set_label("attention weight", size=8)
    bar.tick_params(labelsize=7)
    entitle(drawn, title)
    save(drawn, path)


def _draw(axis: Any, source: Sequence[str], target: Sequence[str], weights: NDArray[np.floating[Any]]) -> Any:
    picture = axis.imshow(weights[: len(target), : len(source)], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axis.set_xticks(range(len(source)), source, rotation=60, ha="left", rotation_mode="anchor", size=8,
                    parse_math=False)  # fmt: skip
    axis.set_yticks(range(len(target)), target, size=8, parse_math=False)
    axis.tick_params(top=True, bottom=False, labeltop=True, labelbottom=False, length=2, pad=1)
    return picture


def _rows(examples: Sequence[Example]) -> list[list[Example]]:
    """Arrange maps in rows that are not too wide."""
    rows: list[list[Example]] = [[]]
    for one in examples:
        if rows[-1] and sum(_size(other)[0] for other in [*rows[-1], one]) > MAX_WIDTH:
            rows.append([])
        rows[-1].append(one)
    return rows


def _size(one: Example) -> tuple[float, float]:
    """Return width and height of a map with its tokens, in inches."""
    source, target, _ = one
    beside = max(map(len, target)) * LETTER + 0.3
    return len(source) * CELL + beside, len(target) * CELL + _header_height(source) + 0.25


def _header_height(source: Sequence[str]) -> float:
    """Return the height of the source tokens above a map, in inches."""
    return max(map(len, source)) * LETTER + 0.15
