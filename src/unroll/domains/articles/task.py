"""The next word of running text."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll import config
from unroll.domains.task import Prediction, Task, TensorSpec
from unroll.features.samples import Samples, Tensors
from unroll.features.special_tokens import EOS
from unroll.files import write_text
from unroll.metrics.next_tokens import grouped, ngram_baselines, per_sample_loss
from unroll.metrics.tokens import WRITTEN, step_loss, text_card, written_card
from unroll.models.heads import LinearHead
from unroll.models.preprocessing import Tokens

ORDERS = {"unigram": 1, "bigram_absolute_discount": 2, "trigram_absolute_discount": 3}
PROMPT = 1000
"""The longest prompt, in tokens."""
RANKS = (100, 1_000, 5_000)
"""Ends of the groups of tokens by frequency."""


def language_task(name: str, section: config.LanguageTask, samples: Samples) -> Task:
    """One to many: each next token from all before it, the state carried from window to window."""
    vocabulary = samples.vocabularies["text"]
    ranks = _ranks(samples, vocabulary.size)
    return Task(
        name=name,
        kind=section.kind,
        topology="one_to_many",
        reader="text",
        inputs=TensorSpec("inputs", "int64", ("batch", "time"), "token numbers of a prompt, <eos> before it"),
        outputs=WRITTEN,
        features=0,
        make_preprocessing=Tokens,
        make_head=lambda size: LinearHead(size, vocabulary.size),
        loss=step_loss,
        metrics=grouped(lambda rows: _by_frequency(rows, ranks), "by_frequency"),
        per_sample_loss=per_sample_loss,
        headline="perplexity",
        higher_is_better=False,
        baselines=lambda samples: ngram_baselines(samples, ORDERS, vocabulary.size, stream=True),
        plot=plot,
        details={
            "text": text_card("prompt", "text", max_tokens=PROMPT, truncation=False, first_token=EOS),
            **written_card("text", section.decoding),
        },
        output="tokens",
        every_step=True,
        causal=True,
        stateful=True,
        input_steps=section.window,
        steps=section.window,
        vocabularies={"text": vocabulary},
        source_vocab_size=vocabulary.size,
        target_vocab_size=vocabulary.size,
        decoding=section.decoding,
        write_examples=lambda folder, sequences: write_texts(folder, [vocabulary.decode(row) for row in sequences]),
    )


def write_texts(folder: Path, texts: Sequence[str]) -> None:
    """Texts that were drawn, a paragraph each: drawn.txt."""
    write_text(folder / "drawn.txt", "\n".join(f"{text}\n" for text in texts))


def _ranks(samples: Samples, size: int) -> NDArray[np.int64]:
    """Place of each token by its frequency in training, 1 for the most frequent: int64 [token]."""
    past = np.concatenate([samples.tensors["targets"][fold.train].ravel() for fold in samples.folds])
    counts = np.bincount(past[past >= 0], minlength=size)
    ranks = np.empty(size, np.int64)
    ranks[np.argsort(-counts, kind="stable")] = np.arange(1, size + 1)
    return ranks


def _by_frequency(rows: Tensors, ranks: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """The targets among the 100 most frequent tokens, among the next 900, and so on."""
    places = ranks[np.maximum(rows["targets"], 0)]
    groups, first = {}, 1
    for last in (*(rank for rank in RANKS if rank < len(ranks)), len(ranks)):
        groups[f"{first}-{last}"] = (places >= first) & (places <= last)
        first = last + 1
    return groups


def plot(folder: Path, title: str, prediction: Prediction, rows: Tensors, evaluation: Mapping[str, Any]) -> None:
    """How well frequent and rare tokens are foretold, beside the n-gram models."""
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
