"""Plots and generated examples of a language model of tunes."""

from collections.abc import Sequence
from pathlib import Path

from unroll.domains.tunes.metrics import ORDERS
from unroll.domains.tunes.notation import to_abc, to_score
from unroll.files import replacing, write_text
from unroll.plotting.results import Results


def write_examples(folder: Path, texts: Sequence[str]) -> None:
    """Write generated tunes: tune-1.abc, and tune-1.mid where it parses, and so on."""
    for number, text in enumerate(texts, start=1):
        abc = to_abc(text, f"Generated tune {number}")
        write_text(folder / f"tune-{number}.abc", abc)
        score, _ = to_score(abc)
        if score is not None:
            with replacing(folder / f"tune-{number}.mid") as part:
                score.dump_midi(part)


def plot(results: Results) -> None:
    """Plot how well tokens are predicted as a tune goes on, beside the n-gram models."""
    from unroll.plotting.figures import by_group_bars

    test, others = results.evaluation["test"], results.evaluation["baseline"]
    figures = ", ".join(f"{name} {others[name]['nll_per_token']:.2f}" for name in ORDERS)
    by_group_bars(
        results.folder / "positions.png",
        f"{results.title}: {test['nll_per_token']:.2f} nats per token on {len(results.rows['targets']):,} test tunes; "
        f"{figures}",
        {"network": test["by_position"], **{name: others[name]["by_position"] for name in reversed(ORDERS)}},
        "nll_per_token",
        xlabel="position in the tune, in tokens (test tokens)",
        ylabel="nats per token",
        counted="tokens",
    )
