"""Plots of translations."""

import numpy as np

from unroll.domains.pairs.metrics import per_sample_loss
from unroll.features.samples import linspace_indices
from unroll.plotting.results import Results


def plot(results: Results) -> None:
    """Plot BLEU by length of the source, and translations from the best to the worst."""
    from unroll.plotting.figures import by_group_bars
    from unroll.plotting.tables import table_figure

    folder, title, prediction, rows = results.folder, results.title, results.prediction, results.rows
    vocabulary = results.samples.vocabularies["text"]
    test, baselines = results.evaluation["test"], results.evaluation["baseline"]
    by_group_bars(
        folder / "lengths.png",
        f"{title}: BLEU {test['bleu']:.1f} on {test['rows']:,} test sentences; "
        f"nearest training pair {baselines['retrieval']['bleu']:.1f}, copied source {baselines['copy']['bleu']:.1f}",
        {
            "network": test["by_length"],
            "nearest training sentence": baselines["retrieval"]["by_length"],
            "copied source": baselines["copy"]["by_length"],
        },
        "bleu",
        xlabel="words of the source (sentences)",
        ylabel="BLEU",
    )
    losses = per_sample_loss(prediction, rows, vocabulary)
    order = np.argsort(losses, kind="stable")
    picked = order[linspace_indices(len(order), 14)]
    table_figure(
        folder / "examples.png",
        f"{title}: test sentences from the best to the worst by chrF, evenly spaced",
        ("source", "reference", "network", "chrF"),
        [
            (
                rows["source"][row],
                rows["target"][row],
                vocabulary.decode(prediction[row]),
                f"{100 * (1 - losses[row]):.0f}",
            )
            for row in picked
        ],
        widths=(38, 42, 42, 4),
    )
