"""Pictures of what a decoder looked at while it wrote."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll.tasks.figures import figure, save

CELL = 0.27
"""Width and height of one weight, in inches."""


def attention_maps(
    path: Path, title: str, examples: Sequence[tuple[Sequence[str], Sequence[str], NDArray[np.floating[Any]]]]
) -> None:
    """A heat map for each example: what was read across, what was written down.

    Args:
        path: PNG to write.
        title: Above them.
        examples: Source tokens, target tokens, and the weights float [target, source]; further rows and columns of
            the weights are padding and not drawn. At most six are shown.
    """
    shown = list(examples)[:6]
    columns = min(len(shown), 2)
    rows = -(-len(shown) // columns)
    wide = max(len(source) for source, _, _ in shown) * CELL + 1.5
    tall = [
        max(len(target) for _, target, _ in shown[row * columns : (row + 1) * columns]) * CELL + 1.2
        for row in range(rows)
    ]
    drawn, _ = figure(width=columns * wide + 0.4, height=sum(tall) + 0.6)
    drawn.clear()
    panels = drawn.subplots(rows, columns, squeeze=False, height_ratios=tall)
    for axis in panels.flat:
        axis.set_axis_off()
    for axis, (source, target, weights) in zip(panels.flat, shown, strict=False):
        axis.set_axis_on()
        picture = axis.imshow(weights[: len(target), : len(source)], cmap="Blues", vmin=0, vmax=1, aspect="equal")
        axis.set_xticks(range(len(source)), source, rotation=60, ha="left", rotation_mode="anchor", size=8,
                        parse_math=False)  # fmt: skip
        axis.set_yticks(range(len(target)), target, size=8, parse_math=False)
        axis.tick_params(top=True, bottom=False, labeltop=True, labelbottom=False, length=2)
    drawn.colorbar(picture, ax=panels, shrink=0.5, aspect=30, label="attention weight")
    drawn.suptitle(title, size=10)
    save(drawn, path)
