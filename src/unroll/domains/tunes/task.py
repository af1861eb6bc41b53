"""A tune, note by note."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll import config
from unroll.domains.task import Prediction, Task, TensorSpec
from unroll.domains.tunes.notation import notes_to_abc, notes_to_midi
from unroll.features.samples import Samples, Tensors
from unroll.features.special_tokens import BOS
from unroll.files import write_text
from unroll.metrics.next_tokens import grouped, ngram_baselines, per_sample_loss
from unroll.metrics.tokens import WRITTEN, step_loss, text_card, written_card
from unroll.models.heads import LinearHead
from unroll.models.preprocessing import Tokens

ORDERS = {"unigram": 1, "bigram": 2, "trigram": 3, "fivegram": 5}
"""A note may take two tokens, so that a trigram may see one note and a half."""
PARTS = (2, 18, 50, 100, 200)
"""Ends of the parts of a tune, in tokens: mode and meter, the first bars, and on."""


def melody_task(name: str, section: config.MelodyTask, samples: Samples) -> Task:
    """One to many: from a mode, a meter and first notes to a tune."""
    vocabulary = samples.vocabularies["notes"]
    return Task(
        name=name,
        kind=section.kind,
        topology="one_to_many",
        reader="text",
        inputs=TensorSpec("inputs", "int64", ("batch", "time"), "token numbers of a tune's beginning, <bos> before it"),
        outputs=WRITTEN,
        features=0,
        make_preprocessing=Tokens,
        make_head=lambda size: LinearHead(size, vocabulary.size),
        loss=step_loss,
        metrics=grouped(_by_part, "by_part"),
        per_sample_loss=per_sample_loss,
        headline="nll_per_token",
        higher_is_better=False,
        baselines=lambda samples: ngram_baselines(samples, ORDERS, vocabulary.size, stream=False),
        plot=plot,
        details={
            "text": text_card("prompt", "notes", max_tokens=section.max_tokens, truncation=False, first_token=BOS),
            **written_card("notes", section.decoding),
        },
        output="tokens",
        every_step=True,
        causal=True,
        variable_length=True,
        vocabularies={"notes": vocabulary},
        source_vocab_size=vocabulary.size,
        target_vocab_size=vocabulary.size,
        decoding=section.decoding,
        write_examples=lambda folder, sequences: write_tunes(
            folder, [vocabulary.decode(row).split() for row in sequences]
        ),
    )


def write_tunes(folder: Path, tunes: Sequence[Sequence[str]]) -> None:
    """Tunes that were drawn, in D: tune-1.abc and tune-1.mid, and so on."""
    for number, tokens in enumerate(tunes, start=1):
        write_text(folder / f"tune-{number}.abc", notes_to_abc(tokens, "D", f"Drawn tune {number}"))
        notes_to_midi(tokens, "D", folder / f"tune-{number}.mid")


def _by_part(rows: Tensors) -> dict[str, NDArray[np.bool_]]:
    """The targets by their place in the tune."""
    places = np.broadcast_to(np.arange(1, rows["targets"].shape[1] + 1), rows["targets"].shape)
    groups, first = {}, 1
    for last in PARTS:
        groups[f"{first}-{last}"] = (places >= first) & (places <= last)
        first = last + 1
    return {**groups, f"over {PARTS[-1]}": places > PARTS[-1]}


def plot(folder: Path, title: str, prediction: Prediction, rows: Tensors, evaluation: Mapping[str, Any]) -> None:
    """How well notes are foretold as a tune goes on: what a memory of more than a few notes is worth."""
    from unroll.plotting.figures import by_group_bars

    test, others = evaluation["test"], evaluation["baseline"]
    told = ", ".join(f"{name} {others[name]['nll_per_token']:.2f}" for name in ORDERS)
    by_group_bars(
        folder / "parts.png",
        f"{title}: {test['nll_per_token']:.2f} nats per token on {len(rows['targets']):,} test tunes; {told}",
        {"network": test["by_part"], **{name: others[name]["by_part"] for name in reversed(ORDERS)}},
        "nll_per_token",
        xlabel="place in the tune, in tokens (test tokens there)",
        ylabel="nats per token",
        counted="tokens",
    )
