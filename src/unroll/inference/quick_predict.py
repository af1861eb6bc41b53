"""Use a trained model on one text."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from unroll.config.decoding import DecodingConfig
from unroll.errors import ParameterError
from unroll.features.special_tokens import UNK
from unroll.inference.bundle import Bundle, load_bundle
from unroll.inference.card import required
from unroll.inference.interface import Verb
from unroll.inference.scorer import Scorer
from unroll.inference.tokens import encode


@dataclass(frozen=True)
class TextResult:
    """The predictions of a model for one text.

    Attributes:
        predictions: Texts or names of classes, with their scores; the best first.
        notes: Further remarks.
    """

    predictions: tuple[tuple[str, float], ...]
    notes: tuple[str, ...]


def use_on_text(model: Path, verb: Verb, text: str, decoding: DecodingConfig | None = None) -> TextResult:
    """Translate a sentence, continue a prompt, or classify a text.

    Args:
        model: The bundle, or the model's folder that holds it.
        verb: `translate`: `n_best` translations, by log probability / length^length_penalty; `generate`: `n_best`
            texts, each beginning with the prompt; `classify`: every class with its probability.
        text: The text, or the prompt.
        decoding: Settings that replace the card's.

    Raises:
        BundleError: There is no bundle, or it is incomplete or altered.
        ParameterError: The model is for another verb or cannot decode as asked, or the text has no token or too many.
    """
    bundle = load_bundle(model)
    card = bundle.card
    if (fitting := card.interface.verb) != verb:
        raise ParameterError(
            f"{model} is a {card.title} model, which `unroll {verb}` cannot use; try `unroll {fitting}`"
        )
    batch, notes = _one_row(bundle, text)
    scorer = Scorer(bundle, decoding=decoding)
    outputs = scorer.outputs(batch)
    if scorer.decoding is None:
        probabilities = outputs["probabilities"][0].tolist()
        names = card.labels or tuple(map(str, range(len(probabilities))))
        return TextResult(tuple(sorted(zip(names, probabilities, strict=True), key=lambda one: -one[1])), notes)
    vocabulary = bundle.vocabularies[required(card.output_vocabulary)]
    prompt = []
    if verb == "generate":
        prompt = batch["inputs"][0].as_py()[int(required(card.text).first_token is not None) :]
    tokens, scores = (outputs[name][0][: scorer.decoding.n_best].tolist() for name in ("tokens", "scores"))
    texts = (vocabulary.decode([*prompt, *one]) for one in tokens)
    return TextResult(tuple(zip(texts, scores, strict=True)), notes)


def _one_row(bundle: Bundle, text: str) -> tuple[pa.RecordBatch, tuple[str, ...]]:
    spec = required(bundle.card.text)
    batch = encode(pa.array([0]), [text], 0, bundle)
    reason = batch["reason"][0].as_py()
    if reason and spec.first_token is not None and not text.strip():
        # A prompt may be empty.
        inputs = pa.array([[spec.first_token]], pa.list_(pa.int64()))
        batch = batch.set_column(batch.schema.get_field_index("inputs"), "inputs", inputs)
    elif reason:
        raise ParameterError(reason)
    numbers = batch["inputs"][0].as_py()
    notes = []
    if batch["truncated"][0].as_py():
        notes.append(f"the model reads only the first {spec.max_tokens:,} tokens")
    if unknown := numbers.count(UNK):
        notes.append(f"{unknown:,} of {len(numbers):,} tokens are unknown to the model")
    return batch, tuple(notes)
