"""Outputs of a graph as columns of predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from unroll.errors import BundleError
from unroll.features.text import Vocabulary
from unroll.inference.bundle import Bundle
from unroll.inference.card import Card, quantile_name, required
from unroll.inference.feeds import steps_of
from unroll.inference.interface import Columns, Numbers, OutputColumns

Outputs = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Context:
    """What the columns depend on besides the outputs.

    Attributes:
        bundle: The model.
        n_best: Texts to return for each row of a model that writes.
    """

    bundle: Bundle
    n_best: int = 1

    @property
    def card(self) -> Card:
        """The bundle's card."""
        return self.bundle.card

    @property
    def vocabulary(self) -> Vocabulary:
        """Vocabulary of the tokens that the model writes."""
        return self.bundle.vocabularies[required(self.card.output_vocabulary)]


def _class_fields(context: Context) -> Sequence[tuple[str, pa.DataType]]:
    return [("prediction", _label_type(context.card)), ("score", pa.float32())]


def _classes(outputs: Outputs, batch: pa.RecordBatch, context: Context) -> Columns:
    del batch
    labels, probabilities = outputs["label"], outputs["probabilities"]  # [batch], [batch, class]
    scores = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    return {"prediction": _named(labels, context), "score": scores}


def _price_fields(context: Context) -> Sequence[tuple[str, pa.DataType]]:
    quantiles = [(quantile_name(level), pa.float32()) for level in context.card.quantiles or ()]
    return [("prediction", pa.float64()), ("score", pa.float32()), *quantiles]


def _prices(outputs: Outputs, batch: pa.RecordBatch, context: Context) -> Columns:
    del context
    last = batch.column("last_price").to_numpy()  # [batch]
    prices = outputs["price"].astype(np.float64)
    prices = prices[:, -1] if prices.ndim == 2 else prices  # the last step is the next day
    # A price that is not positive has no log return and no score.
    ratio = np.divide(prices, last, out=np.full_like(last, np.nan), where=prices > 0)
    return {"prediction": prices, "score": np.log(ratio).astype(np.float32)}


def _quantiles(outputs: Outputs, batch: pa.RecordBatch, context: Context) -> Columns:
    last = batch.column("last_price").to_numpy()  # [batch]
    levels = context.card.quantiles or ()
    quantiles = outputs["log_return_quantiles"]  # [batch, level]
    median = quantiles[:, levels.index(0.5)]
    columns = {quantile_name(level): quantiles[:, i] for i, level in enumerate(levels)}
    with np.errstate(over="ignore"):
        return columns | {"prediction": last * np.exp(median.astype(np.float64)), "score": median}


def _label_fields(context: Context) -> Sequence[tuple[str, pa.DataType]]:
    return [("prediction", pa.list_(_label_type(context.card))), ("score", pa.float32())]


def _labels(outputs: Outputs, batch: pa.RecordBatch, context: Context) -> Columns:
    labels, scores = outputs["labels"], outputs["scores"]  # [batch, time]
    lengths = steps_of(batch, context.card)  # [batch]
    inside = np.arange(labels.shape[1]) < lengths[:, None]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    flat = pa.array(_named(labels[inside], context))
    return {
        "prediction": pa.ListArray.from_arrays(pa.array(ends, pa.int32()), flat),
        "score": np.where(inside, scores, 0).sum(axis=1) / lengths,
    }


def _text_fields(context: Context) -> Sequence[tuple[str, pa.DataType]]:
    best = pa.list_(pa.struct([("text", pa.string()), ("score", pa.float32())]))
    return [("prediction", pa.string()), ("score", pa.float32()), *([("n_best", best)] if context.n_best > 1 else [])]


def _texts(outputs: Outputs, batch: pa.RecordBatch, context: Context) -> Columns:
    del batch
    tokens, scores = outputs["tokens"], outputs["scores"]  # [batch, beam, step], [batch, beam]
    found = [[context.vocabulary.decode(beam) for beam in row[: context.n_best]] for row in tokens.tolist()]
    columns: Columns = {"prediction": [row[0] for row in found], "score": scores[:, 0]}
    if context.n_best > 1:
        columns["n_best"] = [
            [{"text": text, "score": score} for text, score in zip(row, beams, strict=False)]
            for row, beams in zip(found, scores.tolist(), strict=True)
        ]
    return columns


def to_floats(column: pa.Array) -> Numbers:
    numbers: Numbers = column.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    return numbers


def _quantile_summary(predictions: pa.RecordBatch, card: Card) -> Columns:
    levels = required(card.quantiles)
    low, high = (to_floats(predictions.column(quantile_name(level))) for level in (min(levels), max(levels)))
    return {"spread": high - low}


def _text_summary(predictions: pa.RecordBatch, card: Card) -> Columns:
    del card
    texts = pc.utf8_trim_whitespace(predictions.column("prediction"))
    # Arrow splits an empty text into one empty word.
    words = pc.if_else(pc.equal(texts, ""), 0, pc.list_value_length(pc.utf8_split_whitespace(texts)))
    return {"length": to_floats(words)}


def _prediction(predictions: pa.RecordBatch, card: Card) -> Columns:
    del card
    return {"prediction": predictions.column("prediction")}


def _labels_summary(predictions: pa.RecordBatch, card: Card) -> Columns:
    del card
    return {"prediction": predictions.column("prediction").flatten()}


def _no_summary(predictions: pa.RecordBatch, card: Card) -> Columns:
    """Return nothing besides the score, the predicted log return: prices themselves always leave the training range."""
    del predictions, card
    return {}


CLASSES = OutputColumns(
    {"label": ("int64", (1,)), "probabilities": ("float32", (2,))}, _class_fields, _classes, _prediction
)
PRICE = OutputColumns({"price": ("float32", (1, 2))}, _price_fields, _prices, _no_summary, frozenset({"score"}))
QUANTILES = OutputColumns({"log_return_quantiles": ("float32", (2,))}, _price_fields, _quantiles, _quantile_summary)
LABELS = OutputColumns(
    {"labels": ("int64", (2,)), "scores": ("float32", (2,))}, _label_fields, _labels, _labels_summary
)
TEXT = OutputColumns({"tokens": ("int64", (3,)), "scores": ("float32", (2,))}, _text_fields, _texts, _text_summary)


def _label_type(card: Card) -> pa.DataType:
    return pa.int64() if card.labels is None else pa.string()


def _named(labels: NDArray[np.int64], context: Context) -> Any:
    """Return class numbers as they are, or their names if the card has names."""
    names = context.card.labels
    if names is None:
        return labels
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(names):
        raise BundleError(
            f"{context.bundle.version} gives a label outside 0 to {len(names) - 1}, for which the card has no name; "
            "export the model again"
        )
    return pa.array(names, pa.string()).take(pa.array(labels))
