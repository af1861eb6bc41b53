"""Outputs of a graph as columns of predictions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from unroll.errors import BundleError
from unroll.features.symbols import collapse
from unroll.features.text import Vocabulary
from unroll.inference.bundle import Bundle
from unroll.inference.card import Card, quantile_name, required
from unroll.inference.feeds import steps_of
from unroll.inference.interface import Columns, Numbers, OutputColumns

Outputs = Mapping[str, NDArray[Any]]
ArrowColumns = dict[str, pa.Array]


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


def _classes(outputs: Outputs, batch: pa.RecordBatch, context: Context) -> ArrowColumns:
    del batch
    labels, probabilities = outputs["label"], outputs["probabilities"]  # [batch], [batch, class]
    scores = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    return {"prediction": _named(labels, context), "score": pa.array(scores)}


def _prices(outputs: Outputs, batch: pa.RecordBatch, context: Context) -> ArrowColumns:
    del context
    last = batch.column("last_price").to_numpy()  # [batch]
    prices = outputs["price"].astype(np.float64)
    prices = prices[:, -1] if prices.ndim == 2 else prices  # the last step is the next day
    # A price that is not positive has no log return and no score.
    ratio = np.divide(prices, last, out=np.full_like(last, np.nan), where=prices > 0)
    return {"prediction": pa.array(prices), "score": pa.array(np.log(ratio).astype(np.float32), from_pandas=True)}


def _quantiles(outputs: Outputs, batch: pa.RecordBatch, context: Context) -> ArrowColumns:
    last = batch.column("last_price").to_numpy()  # [batch]
    levels = context.card.quantiles or ()
    quantiles = outputs["log_return_quantiles"]  # [batch, level]
    median = quantiles[:, levels.index(0.5)]
    with np.errstate(over="ignore"):
        columns = {"prediction": pa.array(last * np.exp(median.astype(np.float64))), "score": pa.array(median)}
    return columns | {quantile_name(level): pa.array(quantiles[:, i]) for i, level in enumerate(levels)}


def _forecasts(outputs: Outputs, batch: pa.RecordBatch, context: Context) -> ArrowColumns:
    """Return for each series a list with an entry for each step: its time, and median and quantiles of each target."""
    spec, levels = required(context.card.series), required(context.card.quantiles)
    quantiles = outputs["quantiles"].astype(np.float64)  # [batch, step, target, level]
    # Training rows, whose predictions are counted, come without times.
    has_times = "times" in batch.schema.names
    times = batch.column("times").flatten() if has_times else pa.nulls(len(batch) * spec.horizon, pa.timestamp("s"))
    fields = {"time": times}
    for place, target in enumerate(spec.targets):
        of_target = quantiles[:, :, place].reshape(-1, len(levels))
        fields[target] = pa.array(of_target[:, levels.index(0.5)])
        fields |= {f"{target}_{quantile_name(level)}": pa.array(of_target[:, i]) for i, level in enumerate(levels)}
    steps = pa.StructArray.from_arrays(list(fields.values()), list(fields))
    ends = pa.array(np.arange(len(batch) + 1) * spec.horizon, pa.int32())
    spread = quantiles[..., -1] - quantiles[..., 0]
    return {
        "prediction": pa.ListArray.from_arrays(ends, steps),
        "score": pa.array(spread[:, :, 0].mean(1), pa.float32()),
    }


def _labels(outputs: Outputs, batch: pa.RecordBatch, context: Context) -> ArrowColumns:
    labels, scores = outputs["labels"], outputs["scores"]  # [batch, time]
    lengths = steps_of(batch, context.card)  # [batch]
    inside = np.arange(labels.shape[1]) < lengths[:, None]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    means = np.where(inside, scores, 0).sum(axis=1) / lengths
    return {
        "prediction": pa.ListArray.from_arrays(pa.array(ends, pa.int32()), _named(labels[inside], context)),
        "score": pa.array(means, pa.float32()),
    }


def _symbols(outputs: Outputs, batch: pa.RecordBatch, context: Context) -> ArrowColumns:
    """Return the most probable symbols, equal neighbors once, and the least probability of any step."""
    del batch
    probabilities, names = outputs["symbol_probabilities"], required(context.card.labels)  # [batch, step, symbol]
    found = collapse(probabilities.argmax(-1))
    return {
        "prediction": pa.array([" ".join(names[symbol] for symbol in row) for row in found], pa.string()),
        "score": pa.array(probabilities.max(-1).min(-1)),
    }


def _texts(outputs: Outputs, batch: pa.RecordBatch, context: Context) -> ArrowColumns:
    del batch
    tokens, scores = outputs["tokens"], outputs["scores"]  # [batch, beam, step], [batch, beam]
    found = [[context.vocabulary.decode(beam) for beam in row[: context.n_best]] for row in tokens.tolist()]
    columns = {"prediction": pa.array([row[0] for row in found]), "score": pa.array(scores[:, 0])}
    if context.n_best > 1:
        best = [
            [{"text": text, "score": score} for text, score in zip(row, beams, strict=False)]
            for row, beams in zip(found, scores.tolist(), strict=True)
        ]
        columns["n_best"] = pa.array(best, pa.list_(pa.struct([("text", pa.string()), ("score", pa.float32())])))
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


CLASSES = OutputColumns({"label": ("int64", (1,)), "probabilities": ("float32", (2,))}, _classes, _prediction)
PRICE = OutputColumns({"price": ("float32", (1, 2))}, _prices, _no_summary, frozenset({"score"}))
FORECASTS = OutputColumns({"quantiles": ("float32", (4,))}, _forecasts, _no_summary)
QUANTILES = OutputColumns({"log_return_quantiles": ("float32", (2,))}, _quantiles, _quantile_summary)
LABELS = OutputColumns({"labels": ("int64", (2,)), "scores": ("float32", (2,))}, _labels, _labels_summary)
SYMBOLS = OutputColumns({"symbol_probabilities": ("float32", (3,))}, _symbols, _text_summary)
TEXT = OutputColumns({"tokens": ("int64", (3,)), "scores": ("float32", (2,))}, _texts, _text_summary)


def _named(labels: NDArray[np.int64], context: Context) -> pa.Array:
    names = context.card.labels
    if names is None:
        return pa.array(labels)
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(names):
        raise BundleError(
            f"{context.bundle.version} gives a label outside 0 to {len(names) - 1}, for which the card has no name; "
            "export the model again"
        )
    return pa.array(names, pa.string()).take(pa.array(labels))
