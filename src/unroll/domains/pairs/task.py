"""A sentence into its translation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll import config
from unroll.domains.task import Prediction, Task, TensorSpec
from unroll.domains.texts.task import WORDS
from unroll.features.samples import Samples, Tensors, linspace_indices
from unroll.features.text import Vocabulary
from unroll.metrics.tokens import WRITTEN, by_group, ended, length_groups, step_loss, text_card, written, written_card
from unroll.models.heads import LinearHead
from unroll.models.preprocessing import Tokens

CHUNK = 100
"""Sentences that are compared with all training sentences at once."""


def translation_task(name: str, section: config.TranslationTask, samples: Samples) -> Task:
    """Sequence to sequence: the tokens of a sentence → those of its translation, of one vocabulary."""
    vocabulary = samples.vocabularies["text"]
    return Task(
        name=name,
        kind=section.kind,
        topology="sequence_to_sequence",
        reader="text",
        inputs=TensorSpec("inputs", "int64", ("batch", "time"), "token numbers of the source"),
        outputs=WRITTEN,
        features=0,
        make_preprocessing=Tokens,
        make_head=lambda size: LinearHead(size, vocabulary.size),
        loss=step_loss,
        metrics=lambda prediction, rows: metrics(prediction, rows, vocabulary),
        per_sample_loss=lambda prediction, rows: per_sample_loss(prediction, rows, vocabulary),
        headline="bleu",
        higher_is_better=True,
        baselines=baselines,
        plot=lambda folder, title, prediction, rows, evaluation: plot(
            folder, title, prediction, rows, evaluation, vocabulary
        ),
        details={
            "text": text_card("source", "text", max_tokens=section.max_tokens, truncation=section.truncation),
            **written_card("text", section.decoding),
        },
        output="tokens",
        variable_length=True,
        vocabularies={"text": vocabulary},
        source_vocab_size=vocabulary.size,
        target_vocab_size=vocabulary.size,
        decoding=section.decoding,
    )


def metrics(prediction: Prediction, rows: Tensors, vocabulary: Vocabulary) -> dict[str, Any]:
    """BLEU and chrF of the corpus, 0 to 100, by sacrebleu; detokenised, as people would read them.

    Args:
        prediction: Token numbers int64 [sample, time], padded after `<eos>`.
        rows: `source` and `target`, texts.
        vocabulary: What the tokens mean.

    Returns:
        bleu, chrf, their signatures, rows, and under by_length both scores by the number of the source's words.
    """
    from sacrebleu import BLEU, CHRF

    bleu, chrf = BLEU(), CHRF()
    texts = np.array([vocabulary.decode(row) for row in prediction], object)
    references = rows["target"]

    def scores(inside: Any) -> dict[str, Any]:
        said, meant = list(texts[inside]), [list(references[inside])]
        return {
            "bleu": bleu.corpus_score(said, meant).score,
            "chrf": chrf.corpus_score(said, meant).score,
            "rows": len(said),
        }

    return {
        **scores(slice(None)),
        "bleu_signature": str(bleu.get_signature()),
        "chrf_signature": str(chrf.get_signature()),
        "by_length": by_group(length_groups(_words(rows["source"]), (3, 5, 7, 9, 12, 20)), scores),
    }


def per_sample_loss(prediction: Prediction, rows: Tensors, vocabulary: Vocabulary) -> NDArray[np.float64]:
    """1 − chrF / 100 of each sentence: BLEU is made for a corpus."""
    from sacrebleu import CHRF

    chrf = CHRF()
    scores = [
        chrf.sentence_score(vocabulary.decode(ids), [target]).score
        for ids, target in zip(prediction, rows["target"], strict=True)
    ]
    return 1 - np.array(scores) / 100


def _words(texts: NDArray[Any]) -> NDArray[np.int64]:
    return np.array([len(text.split()) for text in texts])


def baselines(samples: Samples) -> dict[str, Prediction]:
    """The source as it stands, and the translation of the training source that is nearest by TF-IDF."""
    tensors = samples.tensors
    copied, retrieved = [], []
    for fold in samples.folds:
        past = np.concatenate([fold.train, fold.valid])
        nearest = past[_nearest(tensors["source"][past], tensors["source"][fold.test])]
        copied += written(tensors["inputs"][fold.test])
        retrieved += written(tensors["targets"][nearest])
    return {"copy": ended(copied), "retrieval": ended(retrieved)}


def _nearest(known: NDArray[Any], asked: NDArray[Any]) -> NDArray[np.int64]:
    """Of each text asked for, the place of the known one with the greatest cosine of TF-IDF vectors."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(token_pattern=WORDS, ngram_range=(1, 2), dtype=np.float32)
    # Rows of length 1, so that a product is a cosine. With the few asked for as columns of a dense matrix, a product
    # takes a third of the time that one of two sparse matrices takes.
    vectors = vectorizer.fit_transform(known)
    wanted = vectorizer.transform(asked)
    places = [
        (vectors @ np.ascontiguousarray(wanted[start : start + CHUNK].toarray().T)).argmax(axis=0)
        for start in range(0, wanted.shape[0], CHUNK)
    ]
    return np.concatenate(places)


def plot(
    folder: Path,
    title: str,
    prediction: Prediction,
    rows: Tensors,
    evaluation: Mapping[str, Any],
    vocabulary: Vocabulary,
) -> None:
    """Quality by length of the source, and translations from the best to the worst."""
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
