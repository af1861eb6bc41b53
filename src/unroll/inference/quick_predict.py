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
    """What a model makes of a text.

    Attributes:
        predictions: Texts or names of classes, with their scores; the best first.
        notes: What there is to report besides.
        model_version: `NAME@SHA12` of the model.
    """

    predictions: tuple[tuple[str, float], ...]
    notes: tuple[str, ...]
    model_version: str


def translate(model: Path, text: str, decoding: DecodingConfig) -> TextResult:
    """Translate a sentence; scores are log probability / length^length_penalty.

    Raises:
        BundleError: There is no bundle, or it is incomplete or altered.
        ParameterError: The model is not a translation model, the text has no token or too many, or the model cannot
            decode as asked.
    """
    bundle = _load(model, "translate")
    batch, notes = _one_row(bundle, text)
    return TextResult(_written(bundle, batch, decoding, ""), notes, bundle.version)


def generate(model: Path, prompt: str, decoding: DecodingConfig) -> TextResult:
    """Continue a prompt: `n_best` texts, each beginning with the prompt. Raises the errors of `translate`."""
    bundle = _load(model, "generate")
    batch, notes = _one_row(bundle, prompt)
    return TextResult(_written(bundle, batch, decoding, prompt), notes, bundle.version)


def classify(model: Path, text: str) -> TextResult:
    """Return the probability of every class. Raises the errors of `translate`."""
    bundle = _load(model, "classify")
    batch, notes = _one_row(bundle, text)
    probabilities = Scorer(bundle).outputs(batch)["probabilities"][0].tolist()
    names = bundle.card.labels or tuple(map(str, range(len(probabilities))))
    found = sorted(zip(names, probabilities, strict=True), key=lambda one: -one[1])
    return TextResult(tuple(found), notes, bundle.version)


def _load(model: Path, verb: Verb) -> Bundle:
    bundle = load_bundle(model)
    fitting = bundle.card.interface.verb
    if fitting != verb:
        raise ParameterError(
            f"{model} is a {bundle.card.title} model, which `unroll {verb}` cannot use; try `unroll {fitting}`"
        )
    return bundle


def _one_row(bundle: Bundle, text: str) -> tuple[pa.RecordBatch, tuple[str, ...]]:
    """Encode a batch of one row; return it and notes on it."""
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
    unknown = sum(number == UNK for number in numbers)
    notes = []
    if batch["truncated"][0].as_py():
        notes.append(f"the model reads only the first {spec.max_tokens:,} tokens")
    if unknown:
        notes.append(f"{unknown:,} of {len(numbers):,} tokens are unknown to the model")
    return batch, tuple(notes)


def _written(
    bundle: Bundle, batch: pa.RecordBatch, decoding: DecodingConfig, prompt: str
) -> tuple[tuple[str, float], ...]:
    """Return the `n_best` texts that the model writes, each after the prompt's tokens."""
    scorer = Scorer(bundle, decoding=decoding)
    outputs, count = scorer.outputs(batch), scorer.decoding.n_best if scorer.decoding else 1
    card = bundle.card
    vocabulary = bundle.vocabularies[required(card.output_vocabulary)]
    skipped = int(required(card.text).first_token is not None)
    before = batch["inputs"][0].as_py()[skipped:] if prompt else []
    found = zip(outputs["tokens"][0][:count].tolist(), outputs["scores"][0][:count].tolist(), strict=True)
    return tuple((vocabulary.decode([*before, *tokens]), score) for tokens, score in found)
