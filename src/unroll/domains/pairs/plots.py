"""Plots of translations."""

import numpy as np

from unroll.domains.pairs.metrics import per_sample_loss
from unroll.features.samples import linspace_indices
from unroll.plotting.results import Results


def plot(results: Results) -> None:
    """Quality by length of the source, and translations from the best to the worst."""
    folder, title, prediction, rows = results.folder, results.title, results.prediction, results.rows
    evaluation = results.evaluation
    vocabulary = results.samples.vocabularies["text"]
    from unroll.plotting.figures import by_group_bars
    from unroll.plotting.tables import table_figure

    test, others = evaluation["test"], evaluation["baseline"]
    by_group_bars(
        folder / "lengths.png",
        f"{title}: BLEU {test['bleu']:.1f} on {test['rows']:,} test sentences; "
        f"nearest training sentence {others['retrieval']['bleu']:.1f}, source copied {others['copy']['bleu']:.1f}",
        {
            "network": test["by_length"],
            "nearest training sentence": others["retrieval"]["by_length"],
            "source copied": others["copy"]["by_length"],
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
