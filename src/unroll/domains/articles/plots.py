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
    """How well frequent and rare tokens are foretold, beside the n-gram models."""
    folder, title, evaluation = results.folder, results.title, results.evaluation
    from unroll.plotting.figures import by_group_bars

    test, others = evaluation["test"], evaluation["baseline"]
    told = ", ".join(f"{name.split('_')[0]} {others[name]['perplexity']:.0f}" for name in ORDERS)
    by_group_bars(
        folder / "frequency.png",
        f"{title}: perplexity {test['perplexity']:.1f} on {test['tokens']:,} test tokens; {told}",
        {
            "network": test["by_frequency"],
            **{name.replace("_", " "): others[name]["by_frequency"] for name in reversed(ORDERS)},
        },
        "nll_per_token",
        xlabel="tokens by their frequency in training (test tokens)",
        ylabel="nats per token",
        counted="tokens",
    )
