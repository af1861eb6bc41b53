"""Pictures that look alike and come out alike: matplotlib, set once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unroll.files import replacing


def figure(rows: int = 1, columns: int = 1, *, width: float = 8.0, height: float = 4.2) -> tuple[Any, Any]:
    """A new figure and its axes. No window is ever opened, and nothing global is left behind.

    Args:
        rows: Rows of axes.
        columns: Columns of axes.
        width: Inches.
        height: Inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawn)
    return drawn, drawn.subplots(rows, columns)


def save(drawn: Any, path: Path) -> None:
    """Writes a PNG whole; equal figures are equal bytes."""
    with replacing(path) as part:
        # Matplotlib would write its version into the file.
        drawn.savefig(part, format="png", dpi=110, metadata={"Software": None})


def dates(days: Any) -> Any:
    """Days since 1970-01-01 → datetime64[D], which matplotlib labels as dates."""
    return np.asarray(days).astype("datetime64[D]")


def learning_curves(path: Path, title: str, history: Sequence[dict[str, Any]], metric: str) -> None:
    """Loss of both splits, validation metric and gradient norm by epoch, one line a fold and seed."""
    drawn, (losses, metrics, gradients) = figure(1, 3, width=11, height=3.6)
    members = sorted({(row["fold"], row["seed"]) for row in history})
    for member in members:
        rows = [row for row in history if (row["fold"], row["seed"]) == member]
        epochs = [row["epoch"] for row in rows]
        first = member == members[0]
        losses.plot(epochs, [row["train_loss"] for row in rows], "C0", lw=1, label="training" if first else None)
        if rows[0]["valid_loss"] is not None:
            losses.plot(epochs, [row["valid_loss"] for row in rows], "C1", lw=1, label="validation" if first else None)
            metrics.plot(epochs, [row["valid_metric"] for row in rows], "C1", lw=1)
        gradients.plot(epochs, [row["gradient_norm"] for row in rows], "C2", lw=1)
    losses.set(title="loss", xlabel="epoch", yscale="log")
    losses.legend(frameon=False)
    metrics.set(title=f"validation {metric}", xlabel="epoch")
    if not metrics.lines:
        metrics.text(0.5, 0.5, "no days held out:\nthe epochs were chosen beforehand", ha="center", va="center",
                     transform=metrics.transAxes)  # fmt: skip
    gradients.set(title="gradient norm, mean of an epoch", xlabel="epoch", yscale="log")
    drawn.suptitle(title, size=10)
    save(drawn, path)
