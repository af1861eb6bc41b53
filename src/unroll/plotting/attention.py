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

Example = tuple[Sequence[str], Sequence[str], NDArray[np.floating[Any]]]


def attention_maps(path: Path, title: str, examples: Sequence[Example]) -> None:
    """Plot the heat maps of the examples one below the other, with source tokens across and target tokens down.

    Weights are float [target, source], possibly padded.
    """
    beside = max(max(map(len, target)) for _, target, _ in examples) * LETTER + 0.3
    above = [max(map(len, source)) * LETTER + 0.4 for source, _, _ in examples]
    width = beside + max(len(source) for source, _, _ in examples) * CELL + 1.0
    height = 0.65 + sum(above) + sum(len(target) for _, target, _ in examples) * CELL
    drawn, axis = figure(width=max(width, 4.0), height=max(height, 2.5))
    axis.remove()
    # An automatic layout would give short sentences larger cells.
    drawn.set_layout_engine("none")
    width, height = drawn.get_size_inches()
    top = height - 0.5
    for header, (source, target, weights) in zip(above, examples, strict=True):
        across, down = len(source) * CELL, len(target) * CELL
        top -= header + down
        axis = drawn.add_axes((beside / width, top / height, across / width, down / height))
        picture = axis.imshow(weights[: len(target), : len(source)], cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axis.set_xticks(range(len(source)), source, rotation=60, ha="left", rotation_mode="anchor", size=8,
                        parse_math=False)  # fmt: skip
        axis.set_yticks(range(len(target)), target, size=8, parse_math=False)
        axis.tick_params(top=True, bottom=False, labeltop=True, labelbottom=False, length=2, pad=1)
    bar = drawn.add_axes(((width - 0.7) / width, 0.2, 0.12 / width, 0.6))
    drawn.colorbar(picture, cax=bar).set_label("attention weight", size=8)
    bar.tick_params(labelsize=7)
    entitle(drawn, title)
    save(drawn, path)
