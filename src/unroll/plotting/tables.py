"""Tables as pictures, and as CSV where they are read on."""

import csv
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll.features.samples import linspace_indices
from unroll.features.special_tokens import SPECIAL_TOKENS
from unroll.files import replacing
from unroll.plotting.figures import entitle, figure, save

LINE = 0.15
"""Height of a line of text, in inches."""
LETTER = 0.063
"""Width of a letter, in inches, at the size that cells are written in."""


def table_figure(
    path: Path, title: str, header: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]
) -> None:
    """A table of texts, long ones broken into lines.

    Args:
        path: PNG to write.
        title: Above it.
        header: Names of the columns.
        rows: Texts, as many in each as columns.
        widths: Of the columns, in letters.
    """
    cells = [[_broken(text, width) for text, width in zip(row, widths, strict=True)] for row in rows]
    heights = [max(len(lines) for lines in row) for row in cells]
    # A gap of two letters between columns, of half a line between rows.
    starts = np.cumsum([0, *(width + 2 for width in widths)])
    lines = 1.5 + sum(height + 0.5 for height in heights)
    width, height = float(starts[-1]), max(lines, 2.5)
    drawn, axis = figure(width=width * LETTER + 0.2, height=height * LINE + 0.45)
    axis.set(xlim=(0, width), ylim=(height, 0))
    axis.set_axis_off()
    for start, name in zip(starts, header, strict=False):
        axis.text(start, 0.9, name, va="baseline", size=8.5, weight="bold")
    top = 1.5
    for row, tall in zip(cells, heights, strict=True):
        axis.axhline(top - 0.15, color="0.85", lw=0.6)
        for start, cell in zip(starts, row, strict=False):
            for line, text in enumerate(cell):
                # Texts may hold dollar signs, which would begin a formula.
                axis.text(start, top + line + 0.75, text, va="baseline", size=8, parse_math=False)
        top += tall + 0.5
    if not rows:
        axis.text(0, top + 0.75, "none", va="baseline", size=8, style="italic")
    entitle(drawn, title)
    save(drawn, path)


def _broken(text: str, width: int, most: int = 4) -> list[str]:
    """A text in lines of so many letters; what does not fit into `most` lines is left out."""
    return textwrap.wrap(text, width, max_lines=most, placeholder=" …") or [""]


def neighbour_table(
    path: Path, title: str, tokens: Sequence[str], vectors: NDArray[np.floating[Any]], *, shown: int = 20, near: int = 5
) -> None:
    """Nearest neighbours of tokens by the cosine of their vectors: a PNG, and a CSV of ten times as many tokens.

    Args:
        path: PNG to write; the CSV lies beside it.
        title: Above it.
        tokens: By number, as people read them; the more frequent first.
        vectors: float [token, size].
        shown: Tokens in the picture.
        near: Neighbours of each.
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.maximum(norms, 1e-12)
    candidates = np.array([token not in SPECIAL_TOKENS for token in tokens])
    asked = _telling(tokens, 10 * shown)
    cosines = np.where(candidates, units[asked] @ units.T, -np.inf)
    cosines[np.arange(len(asked)), asked] = -np.inf
    near = min(near, int(candidates.sum()) - 1)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :near]
    found = [
        [tokens[token], *(f"{tokens[other]} {cosines[place, other]:.2f}" for other in order[place])]
        for place, token in enumerate(asked)
    ]
    with replacing(path.with_suffix(".csv")) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["token", *(name for rank in range(1, near + 1) for name in (f"near_{rank}", f"cosine_{rank}"))]
        )
        for place, token in enumerate(asked):
            pairs = [(tokens[other], f"{cosines[place, other]:.4f}") for other in order[place]]
            writer.writerow([tokens[token], *(value for pair in pairs for value in pair)])
    picked = linspace_indices(len(found), shown)
    table_figure(
        path,
        title,
        ("token", *(f"nearest {rank}" for rank in range(1, near + 1))),
        [found[place] for place in picked],
        widths=(14, *(20 for _ in range(near))),
    )


def _telling(tokens: Sequence[str], count: int) -> list[int]:
    """Numbers of tokens that say something to people: words of four letters and more, evenly among the frequent ones.

    Where there are too few such words, all tokens but the special ones.
    """
    common = range(len(tokens))
    words = [
        number for number in common if len(tokens[number].strip("▁ ")) >= 4 and tokens[number].strip("▁ ").isalpha()
    ]
    asked = words if len(words) >= 10 else [number for number in common if tokens[number] not in SPECIAL_TOKENS]
    frequent = asked[: 20 * count]
    return [frequent[place] for place in linspace_indices(len(frequent), count)]
