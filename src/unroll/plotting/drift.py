"""Columns of scored rows beside those of training."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class DriftPanel:
    """What is drawn of one column.

    Attributes:
        title: Name of the column.
        parts: (name, share in training, share now) of each part of its values.
        steps: Of numbers, (value, share up to it in training, and now), ascending.
    """

    title: str
    parts: Sequence[tuple[str, float, float]]
    steps: Sequence[tuple[float, float, float]] = ()


def drift_png(panels: Sequence[DriftPanel]) -> bytes:
    """Draw a row a column: the shares of its parts, and of numbers the distribution functions."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.6 * len(panels)))
    # A layout engine would take half a second.
    figure.subplots_adjust(left=0.05, right=0.98, top=1 - 0.12 / len(panels), bottom=0.35 / len(panels), hspace=0.9)
    for (bars, curves), panel in zip(figure.subplots(len(panels), 2, squeeze=False), panels, strict=True):
        places = range(len(panel.parts))
        bars.bar([place - 0.2 for place in places], [training for _, training, _ in panel.parts], 0.4, label="training")
        bars.bar([place + 0.2 for place in places], [now for _, _, now in panel.parts], 0.4, label="now")
        names = [name[:16] for name, _, _ in panel.parts]
        bars.set_xticks(places, names, rotation=45, ha="right", fontsize=7, parse_math=False)
        bars.set_title(f"{panel.title}: share of the values", fontsize=9, parse_math=False)
        bars.legend(fontsize=7)
        if not panel.steps:
            curves.set_axis_off()
            continue
        values, training, now = zip(*panel.steps, strict=True)
        curves.step(values, training, where="post", label="training")
        curves.step(values, now, where="post", label="now")
        curves.set_title("share of the values up to a value", fontsize=9)
    image = io.BytesIO()
    with warnings.catch_warnings():
        # Of characters that the font lacks.
        warnings.simplefilter("ignore")
        figure.savefig(image, format="png", dpi=80)
    return image.getvalue()
