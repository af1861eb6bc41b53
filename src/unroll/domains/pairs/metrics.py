"""BLEU and chrF of translations, and baselines."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unroll.domains.pairs.config import TranslationTask
from unroll.features.samples import Samples, Tensors
from unroll.features.text import Vocabulary
from unroll.metrics.classification import word_pattern
from unroll.metrics.live import Live
from unroll.metrics.metrics import Metrics, Prediction
from unroll.metrics.tokens import by_group, length_groups, with_eos, without_padding

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 100
"""Sentences that are compared with all training sentences in one matrix product."""


def make_metrics(section: TranslationTask, samples: Samples) -> Metrics:
    """Return the metrics of a task."""
    vocabulary = samples.vocabularies["text"]
    return Metrics(
        "bleu",
        higher_is_better=True,
        score=lambda prediction, rows: score(prediction, rows, vocabulary),
        per_sample_loss=lambda prediction, rows: per_sample_loss(prediction, rows, vocabulary),
        baselines=baselines,
        test="paired_t_test",
        maximum=100.0,
    )


def score(prediction: Prediction, rows: Tensors, vocabulary: Vocabulary) -> dict[str, Any]:
    """Return BLEU and chrF of the corpus, 0 to 100, computed by sacrebleu on detokenized texts.

    Args:
        prediction: Token numbers int64 [sample, time], padded after `<eos>`.
        rows: `source` and `target`, texts.
        vocabulary: Vocabulary of the tokens.

    Returns:
        bleu and chrf with their signatures, rows, and under by_length both scores by the number of words in the source.
    """
    from sacrebleu import BLEU, CHRF

    bleu, chrf = BLEU(), CHRF()
    texts = np.array([vocabulary.decode(row) for row in prediction], object)
    references = rows["target"]

    def scores(mask: Any) -> dict[str, Any]:
        hypotheses, corpus = list(texts[mask]), [list(references[mask])]
        return {
            "bleu": bleu.corpus_score(hypotheses, corpus).score,
            "chrf": chrf.corpus_score(hypotheses, corpus).score,
            "rows": len(hypotheses),
        }

    return {
        **scores(slice(None)),
        "bleu_signature": str(bleu.get_signature()),
        "chrf_signature": str(chrf.get_signature()),
        "by_length": by_group(length_groups(_word_counts(rows["source"]), (3, 5, 7, 9, 12, 20)), scores),
    }


def per_sample_loss(prediction: Prediction, rows: Tensors, vocabulary: Vocabulary) -> NDArray[np.float64]:
    """Return 1 − chrF / 100 of each sentence, float64 [sample]; BLEU is made for a whole corpus."""
    from sacrebleu import CHRF

    chrf = CHRF()
    scores = [
        chrf.sentence_score(vocabulary.decode(ids), [target]).score
        for ids, target in zip(prediction, rows["target"], strict=True)
    ]
    return 1 - np.array(scores) / 100


def _word_counts(texts: NDArray[Any]) -> NDArray[np.int64]:
    return np.array([len(text.split()) for text in texts])


def baselines(samples: Samples) -> dict[str, Prediction]:
    """Return the source itself, and the translation of the training source that is nearest by TF-IDF."""
    tensors = samples.tensors
    copied, retrieved = [], []
    for fold in samples.folds:
        past = np.concatenate([fold.train, fold.valid])
        nearest = past[_nearest(tensors["source"][past], tensors["source"][fold.test])]
        copied += without_padding(tensors["inputs"][fold.test])
        retrieved += without_padding(tensors["targets"][nearest])
    return {"copy": with_eos(copied), "retrieval": with_eos(retrieved)}


def _nearest(known: NDArray[Any], texts: NDArray[Any]) -> NDArray[np.int64]:
    """Return for each text the index of the known text with the greatest cosine of TF-IDF vectors."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(token_pattern=word_pattern(), ngram_range=(1, 2), dtype=np.float32)
    # The vectors have norm 1, so that a product is a cosine. A product with a dense matrix of a few columns takes a
    # third of the time of one of two sparse matrices.
    known_vectors = vectorizer.fit_transform(known)
    vectors = vectorizer.transform(texts)
    nearest = [
        (known_vectors @ np.ascontiguousarray(vectors[start : start + CHUNK].toarray().T)).argmax(axis=0)
        for start in range(0, vectors.shape[0], CHUNK)
    ]
    return np.concatenate(nearest)


def live_metrics(kind: str, rows: "pd.DataFrame") -> Live:
    """Return BLEU and chrF of translations whose truth is known."""
    del kind
    from sacrebleu import BLEU, CHRF

    texts, references = (rows[name].astype(str).tolist() for name in ("prediction", "truth"))
    return {
        "bleu": BLEU().corpus_score(texts, [references]).score,
        "chrf": CHRF().corpus_score(texts, [references]).score,
    }
