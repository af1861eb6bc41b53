"""What travels with a model besides its card: what its training rows were like, and what every row has to keep."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
from numpy.typing import NDArray

from unroll.features.samples import Fold, Index, Tensors, spread
from unroll.features.text import PAD
from unroll.inference.answers import DECODERS, Context
from unroll.inference.bundle import Bundle, open_session
from unroll.inference.card import Card, TextInput, stated
from unroll.inference.decoding import Decoding, Wishes, settled
from unroll.inference.feeds import feed, pieces
from unroll.inference.profile import Numbers, answers, profile
from unroll.inference.reference import (
    Bounds,
    CategoryColumn,
    Expectation,
    NumberColumn,
    Reference,
    count_categories,
    count_numbers,
)
from unroll.training.inspection import PROMPT_STEPS

ANSWERED = 5_000
"""Rows, at most, that predictions are made for; evenly spaced."""
WRITTEN = 500
"""The same of a model that writes, which takes longer."""
_ROWS = 8192
"""Rows that are looked at together."""
_BATCH = 500
_ENOUGH = 100
"""Rows of a validation split that make a distribution."""
_FITTED = ("unknown_share",)
_LARGEST_MOVE = 0.5
"""A price that halves within a day, or rises by half, is not yet out of the question."""


def describe(bundle: Bundle, tensors: Tensors, fold: Fold) -> tuple[Reference, tuple[Expectation, ...]]:
    """Reference and expectations of a bundle whose graph and card are there.

    Args:
        bundle: Without the two.
        tensors: Of all samples.
        fold: Whose network it is. Bounds and the distributions of rows are those of its training split. What was fitted
            to that very split is counted on the validation split instead, if it has rows enough: words that a
            vocabulary was made of are never unknown to it, and a network is surer of rows that it has learned.
    """
    card = bundle.card
    held_out = fold.valid if len(fold.valid) >= _ENOUGH else fold.train
    columns = _profiled(tensors, fold.train, card)
    counted = columns | {name: values for name, values in _profiled(tensors, held_out, card).items() if name in _FITTED}
    if _prompted(card):
        # A prompt is a beginning, samples are whole: their lengths tell nothing of each other.
        del counted["tokens"]
    few = held_out[spread(len(held_out), ANSWERED if card.kind.decoding is None else WRITTEN)]
    found = {name: count_numbers(values) for name, values in counted.items()}
    reference = Reference(
        rows={name: column for name, column in found.items() if column},
        answers=_answer_columns(bundle, rows_of(tensors, few, card, prompts=True)),
    )
    return reference, expectations_of(columns, card)


def _profiled(tensors: Tensors, index: Index, card: Card) -> dict[str, Numbers]:
    starts = range(0, len(index), _ROWS)
    parts = [profile(rows_of(tensors, index[start : start + _ROWS], card), card) for start in starts]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _prompted(card: Card) -> bool:
    return card.text is not None and card.text.column == "prompt"


def rows_of(tensors: Tensors, index: Index, card: Card, *, prompts: bool = False) -> pa.RecordBatch:
    """Samples as a batch that a reader could have given: `inputs`, and of prices `last_price`.

    Args:
        tensors: `inputs` [sample, time, …], `lengths` where they vary, `last` of prices.
        index: Which samples.
        card: Of the model that reads them.
        prompts: Whether a model that goes on with a prompt gets samples cut to one.
    """
    inputs = tensors["inputs"][index]
    if card.reader in ("digits", "prices"):
        size = int(np.prod(inputs.shape[1:]))
        columns = {"inputs": pa.FixedSizeListArray.from_arrays(pa.array(inputs.reshape(-1)), size)}
        if card.reader == "prices":
            last = tensors["last"][index].astype(np.float64)
            columns["last_price"] = pa.array(last[:, -1] if last.ndim == 2 else last)
        return pa.record_batch(columns)
    if card.reader == "arrays" and "lengths" not in tensors:
        lengths = np.full(len(inputs), inputs.shape[1])
    else:
        lengths = tensors["lengths"][index] if "lengths" in tensors else (inputs != PAD).sum(axis=1)
    if _prompted(card):
        inputs, lengths = _as_prompts(inputs, lengths, stated(card.text), PROMPT_STEPS if prompts else inputs.shape[1])
    inside = np.arange(inputs.shape[1]) < lengths[:, None]
    ends = np.concatenate([[0], np.cumsum(lengths)]) * int(np.prod(inputs.shape[2:]))
    return pa.record_batch(
        {"inputs": pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), pa.array(inputs[inside].reshape(-1)))}
    )


def _as_prompts(
    inputs: NDArray[Any], lengths: NDArray[np.int64], spec: TextInput, most: int
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The first tokens of each sample, so many at most, after the one that stands before every text."""
    before = spec.first_token
    if before is None or (inputs[:, 0] == before).all():
        return inputs[:, : most + 1], np.minimum(lengths, most + 1)
    return np.insert(inputs[:, :most], 0, before, axis=1), np.minimum(lengths, most) + 1


def _answer_columns(bundle: Bundle, rows: pa.RecordBatch) -> dict[str, NumberColumn | CategoryColumn]:
    numbers: dict[str, list[Numbers]] = {}
    categories: dict[str, dict[str, int]] = {}
    for predictions in _predictions(bundle, rows):
        for name, values in answers(predictions, bundle.card).items():
            if isinstance(values, np.ndarray):
                numbers.setdefault(name, []).append(values)
                continue
            there = categories.setdefault(name, {})
            for category, count in count_categories(values).items():
                there[category] = there.get(category, 0) + count
    counted = {name: count_numbers(np.concatenate(parts)) for name, parts in numbers.items()}
    found: dict[str, NumberColumn | CategoryColumn] = {name: column for name, column in counted.items() if column}
    return found | {name: CategoryColumn(counts=counts) for name, counts in categories.items() if counts}


def _predictions(bundle: Bundle, rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """What the graph says of rows, as it stands in a file of predictions."""
    session = open_session(bundle, threads=1)
    decoder, context = DECODERS[bundle.card.kind.answer], Context(bundle)
    decoding = settled(bundle, Wishes())
    for cut in pieces(rows, _BATCH):
        batch = rows.slice(cut.start, _BATCH) if isinstance(cut, slice) else rows.take(pa.array(cut))
        columns = decoder.columns(_outputs(session, batch, bundle.card, decoding), batch, context)
        fields = decoder.fields(context)
        yield pa.record_batch(
            [pa.array(columns[name], kind, from_pandas=True) for name, kind in fields],
            names=[name for name, _ in fields],
        )


def _outputs(
    session: onnxruntime.InferenceSession, batch: pa.RecordBatch, card: Card, decoding: Decoding | None
) -> dict[str, NDArray[Any]]:
    names = [tensor.name for tensor in card.outputs]
    return dict(zip(names, session.run(names, feed(batch, card, decoding)), strict=True))


def expectations_of(columns: Mapping[str, Numbers], card: Card) -> tuple[Expectation, ...]:
    """What a row has to keep, or it is garbage; so generous that no drift fails it.

    Args:
        columns: The training split's profile.
        card: Of the model.
    """
    if card.reader == "digits":
        most = min(1.0, _widened(columns["ink"])[1])
        return (_between("the image is not blank, nor all ink", "ink", (0.0, most), strict_min=True),)
    if card.reader == "prices":
        return _of_prices(columns, card)
    if card.reader == "text":
        return _of_texts(card)
    return _of_arrays(columns)


def _of_prices(columns: Mapping[str, Numbers], card: Card) -> tuple[Expectation, ...]:
    days = float(stated(card.prices).window)
    found = [_between("there are as many days as the model reads", "steps", (days, days))]
    if np.isfinite(columns["last_move"]).all():
        low, high = _widened(columns["last_move"])
        found.append(
            _between(
                "the last price is no slip of the pen (1 = 100 % of the day before's)",
                "last_move",
                (min(low, -_LARGEST_MOVE), max(high, _LARGEST_MOVE)),
            )
        )
    if (columns["volatility"] > 0).all():
        found.append(_between("the price moves within the window", "volatility", (0.0, None), strict_min=True))
    return tuple(found)


def _of_texts(card: Card) -> tuple[Expectation, ...]:
    spec = stated(card.text)
    found = [_between("the text has tokens, and no more than the model reads", "tokens", (1.0, float(spec.max_tokens)))]
    # Whoever reads a token's characters knows something of a token that is unknown.
    if not spec.characters:
        found.append(_between("some token of the text is known", "unknown_share", (0.0, 1.0), strict_max=True))
    return tuple(found)


def _of_arrays(columns: Mapping[str, Numbers]) -> tuple[Expectation, ...]:
    low, high = columns["least"].min(), columns["most"].max()
    found = [
        _between(
            "there are time steps, and no more than twice the longest in training",
            "steps",
            (1.0, 2 * float(columns["steps"].max())),
        ),
        Expectation(what="all values are numbers", column="least", kind="ExpectColumnValuesToNotBeNull"),
        _between("no value is far below those in training", "least", (float(low - (high - low)), None)),
        _between("no value is far above those in training", "most", (None, float(high + (high - low)))),
    ]
    if (columns["deviation"] > 0).all():
        found.append(_between("the values differ", "deviation", (0.0, None), strict_min=True))
    return tuple(found)


def _widened(values: Numbers) -> tuple[float, float]:
    """The range of values, wider by its width on both sides."""
    low, high = float(values.min()), float(values.max())
    return low - (high - low), high + (high - low)


def _between(
    what: str,
    column: str,
    bounds: tuple[float | None, float | None],
    *,
    strict_min: bool = False,
    strict_max: bool = False,
) -> Expectation:
    options = Bounds(min_value=bounds[0], max_value=bounds[1], strict_min=strict_min, strict_max=strict_max)
    return Expectation(what=what, column=column, kind="ExpectColumnValuesToBeBetween", options=options)
