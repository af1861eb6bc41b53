"""Plots of captions."""

import numpy as np

from unroll.domains.strips.caption_metrics import per_sample_loss
from unroll.features.samples import linspace_indices
from unroll.plotting.results import Results


def plot_captions(results: Results) -> None:
    """Quality by number of digits; strips with what was said of them."""
    folder, title, prediction, rows = results.folder, results.title, results.prediction, results.rows
    evaluation = results.evaluation
    vocabulary = results.samples.vocabularies["caption"]
    from unroll.plotting.figures import by_group_bars, entitle, figure, save

    test, others = evaluation["test"], evaluation["baseline"]
    by_group_bars(
        folder / "lengths.png",
        f"{title}: {test['exact_match']:.1%} of {test['rows']:,} test sentences right, digit error rate "
        f"{test['digit_error_rate']:.1%};\nnearest training strip {others['nearest_strip']['exact_match']:.1%} and "
        f"{others['nearest_strip']['digit_error_rate']:.1%}",
        {
            "network": test["by_digits"],
            "nearest training strip": others["nearest_strip"]["by_digits"],
            "most frequent sentence": others["most_frequent"]["by_digits"],
        },
        "exact_match",
        xlabel="digits of a strip (strips)",
        ylabel="share of right sentences",
    )
    wrong = per_sample_loss(prediction, rows) > 0
    # Half of them right, half wrong, where there are as many, each spread over the test split.
    picked = np.concatenate(
        [places[linspace_indices(len(places), 6)] for places in map(np.flatnonzero, (~wrong, wrong))]
    )
    drawn, axes = figure(6, 2, width=9.6, height=7.2)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, row in zip(axes.T.flat, picked, strict=False):
        axis.imshow(255 - rows["inputs"][row].T, cmap="gray", vmin=0, vmax=255)
        said = vocabulary.decode(prediction[row]) or "nothing"
        told = f"“{said}”" if not wrong[row] else f"“{said}”, but it is “{rows['caption'][row]}”"
        axis.set_title(told, size=8, color="C3" if wrong[row] else "black", parse_math=False)
    entitle(
        drawn,
        f"{title}: right sentences and (red) wrong ones, evenly spaced in the test split; {wrong.mean():.1%} are wrong",
    )
    save(drawn, folder / "examples.png")
