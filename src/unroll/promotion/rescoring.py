"""Bundles on a task's test rows of today, by onnxruntime: what is shipped is judged, and by the code that scores."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from unroll.domains.task import Task
from unroll.errors import DataError
from unroll.export.rows import rows_of
from unroll.features.samples import Samples, Tensors
from unroll.inference.bundle import Bundle
from unroll.inference.card import Card
from unroll.inference.feeds import pieces
from unroll.inference.scorer import Scorer
from unroll.metrics.metrics import Prediction

LOSSES = "test_losses.parquet"
"""Beside a version's bundle, where its graph cannot be asked for them again."""
_ROWS, _WRITTEN_ROWS = 1024, 64
"""Of one call of the graph; of one that writes token by token."""


def test_rows(samples: Samples) -> Tensors:
    """The test rows of the last fold, whose networks are the ones that are shipped; the others have seen its rows."""
    rows = samples.at(samples.folds[-1].test)
    if "held_out" in rows:
        # The figures of the task are those of other folds, on voices held out: here, every row of this fold counts.
        rows["held_out"] = np.ones_like(rows["held_out"])
    return rows


def digest(rows: Tensors) -> str:
    """SHA-256 of inputs and targets: equal for equal rows."""
    found = hashlib.sha256()
    for name in ("inputs", "targets"):
        found.update(f"{rows[name].dtype} {rows[name].shape}\n".encode())
        found.update(np.ascontiguousarray(rows[name]).data)
    return found.hexdigest()


def can_be_asked(task: Task) -> bool:
    """Whether the graph gives what the task's losses are of; one that writes a text gives no likelihood of another."""
    return not (task.output == "tokens" and task.every_step)


def losses(bundle: Bundle, task: Task, rows: Tensors) -> NDArray[np.float64]:
    """Loss of each test row, by running the bundle's graph.

    Raises:
        BundleError: onnxruntime cannot run the graph on these rows.
    """
    return task.metrics.per_sample_loss(_predictions(bundle, task, rows), rows)


def written_losses(table: Path, task: Task, rows: Tensors) -> NDArray[np.float64]:
    """Loss of each test row, from the log probabilities that `evaluate` wrote to predictions.parquet.

    Raises:
        DataError: The table has fewer rows than there are test rows.
    """
    column = pq.read_table(table, columns=["prediction"])["prediction"].combine_chunks()
    if len(column) < len(rows["targets"]):
        raise DataError(f"{table} has {len(column)} rows, the test split {len(rows['targets'])}: evaluate again")
    # Fold after fold: the last rows are the last fold's.
    kept = column.slice(len(column) - len(rows["targets"]))
    return task.metrics.per_sample_loss(np.stack(kept.to_numpy(zero_copy_only=False)), rows)


def keep(path: Path, found: NDArray[np.float64], rows: Tensors) -> None:
    """Writes losses with the digest of the rows that they are of."""
    table = pa.table({"loss": found})
    pq.write_table(table.replace_schema_metadata({"rows": digest(rows)}), path)


def kept(path: Path, rows: Tensors) -> NDArray[np.float64] | None:
    """Reads them back; None where there are none, or they are of other rows."""
    if not path.is_file():
        return None
    table = pq.read_table(path)
    if (table.schema.metadata or {}).get(b"rows") != digest(rows).encode():
        return None
    found: NDArray[np.float64] = table["loss"].to_numpy()
    return found


def differences(champion: Bundle, challenger: Bundle) -> str:
    """Why one bundle cannot take the rows that were made for the other; empty where it can."""
    old, new = champion.card, challenger.card
    found = []
    if old.title != new.title:
        found.append(f"it is a {old.title} model, not a {new.title} model")
    for side in ("inputs", "outputs"):
        there = {one.name: one for one in getattr(old, side)}
        for one in getattr(new, side):
            other = there.pop(one.name, None)
            if other is None:
                found.append(f"it has no {side[:-1]} {one.name!r}")
            elif other.dtype != one.dtype or not _fit(other.shape, one.shape):
                found.append(f"its {one.name} are {other.dtype} {list(other.shape)}, not {one.dtype} {list(one.shape)}")
        found += [f"it wants an input {name!r}" for name in there if side == "inputs"]
    for name, what in _SETTINGS.items():
        before, after = (_settings(card, name) for card in (old, new))
        if before != after:
            found.append(f"it was made for {what} {_short(before)}, not {_short(after)}")
    for file in new.vocabularies:
        known = champion.vocabularies.get(file)
        if known is None or known.to_json() != challenger.vocabularies[file].to_json():
            found.append(f"it has another vocabulary ({file})")
    return "; ".join(found)


def _predictions(bundle: Bundle, task: Task, rows: Tensors) -> Prediction:
    scorer = Scorer(bundle)
    name = {"label": "probabilities", "labels": "labels", "tokens": "tokens"}.get(task.output, task.outputs[0].name)
    batch = rows_of(rows, np.arange(len(rows["inputs"])), bundle.card)
    cuts = list(pieces(batch, _WRITTEN_ROWS if task.output == "tokens" else _ROWS))
    places = [np.arange(len(batch))[cut] for cut in cuts]

    def run(place: NDArray[np.int64]) -> NDArray[Any]:
        found = scorer.outputs(batch.take(pa.array(place)))[name]
        return found[:, 0] if task.output == "tokens" else found  # the best hypothesis

    # The graph runs on one thread; several calls run side by side.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        parts = list(pool.map(run, places))
    shape = list(parts[0].shape[1:])
    if shape:
        shape[0] = max(part.shape[1] for part in parts)
    if task.every_step:
        shape[0] = max(shape[0], rows["inputs"].shape[1])
    whole = np.zeros((len(batch), *shape), parts[0].dtype)
    for place, part in zip(places, parts, strict=True):
        if shape:
            whole[place, : part.shape[1]] = part
        else:
            whole[place] = part
    return whole


_SETTINGS = {"prices": "the columns", "text": "the text", "array": "the column", "labels": "the labels",
             "quantiles": "the quantiles"}  # fmt: skip


def _settings(card: Card, name: str) -> Any:
    """What of a card decides how its rows are made."""
    part = getattr(card, name)
    if name == "prices" and part:
        return {"columns": part.columns, "target": part.target, "known": part.known, "window": part.window}
    if name == "text" and part:
        return {key: getattr(part, key) for key in ("column", "first_token", "characters")}
    return part


def _fit(one: tuple[int | str, ...], other: tuple[int | str, ...]) -> bool:
    # A name stands for any size.
    return len(one) == len(other) and all(
        a == b or isinstance(a, str) or isinstance(b, str) for a, b in zip(one, other, strict=True)
    )


def _short(value: Any) -> str:
    text = ", ".join(f"{key} {one}" for key, one in value.items()) if isinstance(value, dict) else str(value)
    return text if len(text) <= 80 else text[:79] + "…"
