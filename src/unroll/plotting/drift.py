"""Plots of the columns of scored rows beside those of training."""

import io
import warnings
from collections.abc import Sequence

Panel = tuple[str, Sequence[tuple[str, float, float]], Sequence[tuple[float, float, float]]]
"""What is drawn of a column: its title; (name, share in training, share now) of each part of its values; and of numbers
(value, share up to it in training, and now), ascending."""


def drift_png(panels: Sequence[Panel]) -> bytes:
    """Draw one row per column: the shares of its parts and, for numbers, the distribution functions."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.6 * len(panels)))
    # A layout engine would take half a second.
    figure.subplots_adjust(left=0.05, right=0.98, top=1 - 0.12 / len(panels), bottom=0.35 / len(panels), hspace=0.9)
    for (bars, curves), (title, parts, steps) in zip(
        figure.subplots(len(panels), 2, squeeze=False), panels, strict=True
    ):
        names, *shares = zip(*parts, strict=True)
        for label, offset, heights in zip(("training", "now"), (-0.2, 0.2), shares, strict=True):
            bars.bar([place + offset for place in range(len(names))], heights, 0.4, label=label)
        bars.set_xticks(range(len(names)), [name[:16] for name in names], rotation=45, ha="right", fontsize=7,
                        parse_math=False)  # fmt: skip
        bars.set_title(f"{title}: share of the values", fontsize=9, parse_math=False)
        bars.legend(fontsize=7)
        if not steps:
            curves.set_axis_off()
            continue
        values, *functions = zip(*steps, strict=True)
        for label, function in zip(("training", "now"), functions, strict=True):
            curves.step(values, function, where="post", label=label)
        curves.set_title("share of the values up to a value", fontsize=9)
    image = io.BytesIO()
    with warnings.catch_warnings():
        # Of characters that the font lacks.
        warnings.simplefilter("ignore")
        figure.savefig(image, format="png", dpi=80)
    return image.getvalue()
