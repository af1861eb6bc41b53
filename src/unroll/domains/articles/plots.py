"""Plots and generated examples of a language model."""

from collections.abc import Sequence
from pathlib import Path

from unroll.domains.articles.metrics import ORDERS
from unroll.files import write_text
from unroll.plotting.results import Results


def write_examples(folder: Path, texts: Sequence[str]) -> None:
    """Write generated texts to examples.txt, one paragraph each."""
    write_text(folder / "examples.txt", "\n".join(f"{text}\n" for text in texts))


def plot(results: Results) -> None:
    """Plot how well frequent and rare tokens are predicted, beside the n-gram models."""
    from unroll.plotting.figures import by_group_bars

    test, baselines = results.evaluation["test"], results.evaluation["baseline"]
    figures = ", ".join(f"{name.split('_')[0]} {baselines[name]['perplexity']:.0f}" for name in ORDERS)
    by_group_bars(
        results.folder / "frequency.png",
        f"{results.title}: perplexity {test['perplexity']:.1f} on {test['tokens']:,} test tokens; {figures}",
        {
            "network": test["by_frequency"],
            **{name.replace("_", " "): baselines[name]["by_frequency"] for name in reversed(ORDERS)},
        },
        "nll_per_token",
        xlabel="tokens by their frequency in training (test tokens)",
        ylabel="nats per token",
        counted="tokens",
    )
