"""Figures of matplotlib with one style and reproducible bytes."""

import textwrap
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll.files import replacing


def figure(rows: int = 1, columns: int = 1, *, width: float = 8.0, height: float = 4.2) -> tuple[Any, Any]:
    """Return a new figure and its axes, without pyplot: no window is opened and no global state is changed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawn)
    return drawn, drawn.subplots(rows, columns)


def save(drawn: Any, path: Path) -> None:
    """Write a figure as PNG; equal figures give equal bytes."""
    with replacing(path) as part, warnings.catch_warnings():
        # Texts may be in any script; characters that the font lacks become boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support .* natively")
        # Matplotlib writes its version into the file otherwise.
        drawn.savefig(part, format="png", dpi=110, metadata={"Software": None})


def shrink(picture: Path, smaller: Path) -> None:
    """Write a copy of a plot with 64 colors: about a third of the bytes, and hardly a visible difference."""
    from PIL import Image

    with Image.open(picture) as drawn:
        copy = drawn.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    with replacing(smaller) as part:
        copy.save(part, format="png", optimize=True)


def entitle(drawn: Any, title: str, size: float = 10) -> None:
    """Write a title above all axes, wrapped to the width of the figure."""
    # A letter is about 0.56 times as wide as it is high; sizes are in 72nds of an inch.
    letters = int(drawn.get_figwidth() * 72 / (0.56 * size))
    lines = [line for part in title.splitlines() for line in textwrap.wrap(part, letters)]
    drawn.suptitle("\n".join(lines), size=size)


def dates(days: Any) -> Any:
    """Return days since 1970-01-01 as datetime64[D], which matplotlib labels as dates."""
    return np.asarray(days).astype("datetime64[D]")


def learning_curves(path: Path, title: str, history: Sequence[dict[str, Any]], metric: str) -> None:
    """Plot losses, validation metric and gradient norm by epoch: a line for each fold, mean ± deviation over seeds."""
    drawn, (losses, metrics, gradients) = figure(1, 3, width=11, height=3.6)
    for number, fold in enumerate(dict.fromkeys(row["fold"] for row in history)):
        rows = [row for row in history if row["fold"] == fold]
        for axis, column, color, label in (
            (losses, "train_loss", "C0", "training"),
            (losses, "valid_loss", "C1", "validation"),
            (metrics, "valid_metric", "C1", None),
            (gradients, "gradient_norm", "C2", None),
        ):
            if rows[0][column] is not None:
                _plot_seeds(axis, rows, column, color, label if number == 0 else None)
    losses.set(title="loss", xlabel="epoch", yscale="log")
    losses.legend(frameon=False)
    metrics.set(title=f"validation {metric}", xlabel="epoch")
    if not metrics.lines:
        metrics.text(0.5, 0.5, "no validation split", ha="center", va="center", transform=metrics.transAxes)
    gradients.set(title="gradient norm, mean of an epoch", xlabel="epoch", yscale="log")
    seeds = len({row["seed"] for row in history})
    drawn.suptitle(f"{title}: mean and standard deviation over {seeds} seeds" if seeds > 1 else title, size=10)
    save(drawn, path)


def _plot_seeds(axis: Any, rows: Sequence[dict[str, Any]], column: str, color: str, label: str | None) -> None:
    """Plot the mean over seeds, with a band of one standard deviation where there are several."""
    epochs = sorted({row["epoch"] for row in rows})
    values = [np.array([row[column] for row in rows if row["epoch"] == epoch]) for epoch in epochs]
    mean, deviation = np.array([one.mean() for one in values]), np.array([one.std() for one in values])
    axis.plot(epochs, mean, color, lw=1, label=label)
    if any(len(one) > 1 for one in values):
        axis.fill_between(epochs, mean - deviation, mean + deviation, color=color, alpha=0.2, lw=0)


def confusion_matrix(path: Path, title: str, counts: NDArray[np.int64], names: Sequence[str]) -> None:
    """Plot a confusion matrix, int64 [true class, predicted class], in which only errors are colored."""
    classes = len(names)
    size = max(4.4, 0.45 * classes + 1.9)
    drawn, axes = figure(1, 1, width=size + 0.6, height=size)
    shown = np.where(np.eye(classes, dtype=bool), 0, counts)
    axes.imshow(shown, cmap="Reds", vmin=0, vmax=max(int(shown.max()), 1))
    for true in range(classes):
        for predicted in range(classes):
            dark = shown[true, predicted] > shown.max() / 2
            axes.text(predicted, true, f"{counts[true, predicted]:,}", ha="center", va="center", size=8,
                      color="white" if dark else "black")  # fmt: skip
    long = max(map(len, names)) > 3
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_xticks(range(classes), names, rotation=40 if long and classes > 4 else 0,
                    ha="right" if long and classes > 4 else "center", parse_math=False)  # fmt: skip
    axes.set_yticks(range(classes), names, parse_math=False)
    entitle(drawn, title, 9)
    save(drawn, path)


def by_group_bars(
    path: Path,
    title: str,
    figures: Mapping[str, Mapping[str, Mapping[str, Any]]],
    metric: str,
    *,
    xlabel: str,
    ylabel: str | None = None,
    counted: str = "rows",
) -> None:
    """Plot a metric of groups of the test rows, with a bar for the network and each baseline.

    Args:
        path: PNG to write.
        title: Title of the figure.
        figures: Model → group → metrics; the groups are those of the first model.
        metric: Name of the metric.
        xlabel: What the groups are.
        ylabel: Description of the metric; by default its name.
        counted: Name of the metric with the size of a group.
    """
    groups = next(iter(figures.values()))
    drawn, axis = figure(width=max(6.0, 1.1 * len(groups) + 2), height=3.8)
    width = 0.8 / len(figures)
    for number, (name, found) in enumerate(figures.items()):
        positions = np.arange(len(groups)) + (number - (len(figures) - 1) / 2) * width
        axis.bar(positions, [found[group][metric] for group in groups], width * 0.92, color=_COLORS[number], label=name)
    axis.set_xticks(range(len(groups)), [f"{group}\n({found[counted]:,})" for group, found in groups.items()], size=8)
    axis.set(xlabel=xlabel, ylabel=ylabel or metric.replace("_", " "))
    axis.spines[["top", "right"]].set_visible(False)
    drawn.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=len(figures), frameon=False,
                 fontsize=8)  # fmt: skip
    entitle(drawn, title)
    save(drawn, path)


_COLORS = ("C0", "0.4", "0.6", "0.75", "0.88")
"""Colors of the network and of the baselines."""
