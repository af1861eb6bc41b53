"""Tables as pictures, and nearest neighbors of tokens as pictures and CSV."""

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
"""Width of a letter in a cell, in inches."""


def table_figure(
    path: Path, title: str, header: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]
) -> None:
    """Plot a table of texts, with long texts wrapped to the columns' widths in letters."""
    cells = [[_wrapped(text, width) for text, width in zip(row, widths, strict=True)] for row in rows]
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
                # A dollar sign in a text would begin a formula.
                axis.text(start, top + line + 0.75, text, va="baseline", size=8, parse_math=False)
        top += tall + 0.5
    if not rows:
        axis.text(0, top + 0.75, "none", va="baseline", size=8, style="italic")
    entitle(drawn, title)
    save(drawn, path)


def _wrapped(text: str, width: int, max_lines: int = 4) -> list[str]:
    """Wrap a text to lines of `width` letters; what does not fit into the lines is left out."""
    return textwrap.wrap(text, width, max_lines=max_lines, placeholder=" …") or [""]


def neighbor_table(
    path: Path, title: str, tokens: Sequence[str], vectors: NDArray[np.floating[Any]], *, shown: int = 20, near: int = 5
) -> None:
    """Write the nearest neighbors of tokens by the cosine of their vectors, as PNG and, with more tokens, as CSV.

    Args:
        path: PNG to write; the CSV has the same name with the ending .csv.
        title: Title of the figure.
        tokens: Tokens for display, by number, the most frequent first.
        vectors: float [token, size].
        shown: Tokens in the picture.
        near: Neighbors of each token.
    """
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    candidates = np.array([token not in SPECIAL_TOKENS for token in tokens])
    chosen = _frequent_words(tokens, 10 * shown)
    cosines = np.where(candidates, units[chosen] @ units.T, -np.inf)
    cosines[np.arange(len(chosen)), chosen] = -np.inf
    near = min(near, int(candidates.sum()) - 1)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :near]
    neighbors = [
        [(tokens[other], row[other]) for other in nearest] for row, nearest in zip(cosines, order, strict=True)
    ]
    with replacing(path.with_suffix(".csv")) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["token", *(name for rank in range(near) for name in (f"near_{rank + 1}", f"cosine_{rank + 1}"))]
        )
        for token, found in zip(chosen, neighbors, strict=True):
            writer.writerow([tokens[token], *(cell for other, cosine in found for cell in (other, f"{cosine:.4f}"))])
    table_figure(
        path,
        title,
        ("token", *(f"nearest {rank + 1}" for rank in range(near))),
        [
            [tokens[chosen[row]], *(f"{other} {cosine:.2f}" for other, cosine in neighbors[row])]
            for row in linspace_indices(len(chosen), shown)
        ],
        widths=(14, *(20 for _ in range(near))),
    )


def _frequent_words(tokens: Sequence[str], count: int) -> list[int]:
    """Return numbers of `count` frequent words with at least four letters, evenly spaced by frequency.

    If there are fewer than ten such words, all tokens but the special ones are candidates.
    """
    shown = [token.strip("▁ ") for token in tokens]
    words = [number for number, word in enumerate(shown) if len(word) >= 4 and word.isalpha()]
    if len(words) < 10:
        words = [number for number, token in enumerate(tokens) if token not in SPECIAL_TOKENS]
    frequent = words[: 20 * count]
    return [frequent[index] for index in linspace_indices(len(frequent), count)]
