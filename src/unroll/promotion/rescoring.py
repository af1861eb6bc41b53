"""Results of bundles on a task's present test rows: onnxruntime runs the graph that is shipped."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from safetensors.numpy import load_file

from unroll import paths
from unroll.config.reading import load_section
from unroll.domains import domain_of
from unroll.errors import DataError
from unroll.evaluation.statistics import Losses
from unroll.features.samples import Samples, Tensors
from unroll.files import read_json, require, write_json
from unroll.inference.bundle import Bundle
from unroll.inference.card import Card
from unroll.inference.sample_predictions import sample_predictions
from unroll.inference.sample_rows import takes_prompts
from unroll.metrics.metrics import Metrics, Prediction
from unroll.tracking.runs import flat

LOSSES = "test_losses.json"
"""Beside the bundle of a version whose graph cannot compute them again."""


@dataclass(frozen=True)
class Result:
    """A model's loss on each test row, and its headline metric of all of them."""

    losses: Losses
    headline: float


class TaskRows:
    """The present test rows of a task in params.yaml, and the results of models on them.

    The rows are those of the shipped fold: its network was trained on the test rows of other folds.
    """

    def __init__(self, task: str) -> None:
        self.task, self.section = task, load_section("tasks", task)
        samples = Samples.load(require(paths.features(task), f"featurize {task}"))
        self.metrics: Metrics = domain_of(self.section.domain).part("metrics").make_metrics(self.section, samples)
        self.rows = test_rows(samples)
        self._results: dict[str, Result] = {}

    def of_version(self, bundle: Bundle) -> Result | None:
        """Return the result of a registered version; None if its graph gives none and none is saved for these rows."""
        if not gives_losses(bundle.card):
            return load_result(bundle.folder.parent / LOSSES, self.rows)
        return self._computed(bundle)

    def of_experiment(self, name: str, bundle: Bundle) -> Result:
        """Return the result of an experiment's bundle, or what `evaluate` found if the graph gives no losses."""
        if gives_losses(bundle.card):
            return self._computed(bundle)
        return evaluated(require(paths.predictions(name), f"evaluate {name}"), self.metrics, self.rows)

    def of_baseline(self, name: str) -> Result:
        """Return the result of the task's baseline `name`, from what the stage `baseline` predicted."""
        table = require(paths.baselines(self.task), f"baseline {self.task}") / "predictions.safetensors"
        # The folds are in order: the last rows are the last fold's.
        return judge(load_file(table)[name][-len(self.rows["targets"]) :], self.metrics, self.rows)

    def _computed(self, bundle: Bundle) -> Result:
        if bundle.sha256 not in self._results:
            self._results[bundle.sha256] = judge(sample_predictions(bundle, self.rows), self.metrics, self.rows)
        return self._results[bundle.sha256]


def judge(prediction: Prediction, metrics: Metrics, rows: Tensors) -> Result:
    """Compute the losses and the headline metric of predictions for test rows."""
    return Result(
        metrics.per_sample_loss(prediction, rows), float(metrics.evaluate(prediction, rows)[metrics.headline])
    )


def test_rows(samples: Samples) -> Tensors:
    """Return the test rows of the shipped fold."""
    rows = samples.at(samples.shipped.test)
    if "held_out" in rows:
        # The task's metrics count the speakers that other folds held out; here, every row of this fold counts.
        rows["held_out"] = np.ones_like(rows["held_out"])
    return rows


def gives_losses(card: Card) -> bool:
    """Return whether a graph's outputs are enough to compute losses: a language model's give no likelihood."""
    return not takes_prompts(card)


def evaluated(table: Path, metrics: Metrics, rows: Tensors) -> Result:
    """Return the result of the log probabilities in the predictions.parquet of `evaluate`.

    Raises:
        DataError: The table has fewer rows than the test split.
    """
    column = pq.read_table(table, columns=["prediction"])["prediction"].combine_chunks()
    count = len(rows["targets"])
    if len(column) < count:
        raise DataError(f"{table} has {len(column)} rows, but the test split has {count}; run `unroll evaluate` again")
    # The folds are in order: the last rows are the last fold's.
    last = column.slice(len(column) - count)
    return judge(np.stack(last.to_numpy(zero_copy_only=False)), metrics, rows)


def save_result(path: Path, found: Result, rows: Tensors) -> None:
    """Write a result, with a digest of the rows."""
    write_json(path, {"rows": _digest(rows), "headline": found.headline, "losses": found.losses.tolist()})


def load_result(path: Path, rows: Tensors) -> Result | None:
    """Read what `save_result` wrote; None if there is nothing, or it is of other rows."""
    saved = read_json(path) if path.is_file() else {}
    known = "headline" in saved and saved.get("rows") == _digest(rows)
    return Result(np.array(saved["losses"]), saved["headline"]) if known else None


def differences(champion: Bundle, challenger: Bundle) -> str:
    """Return why the champion cannot take the rows that were made for the challenger; empty if it can."""
    old, new = _requirements(champion), _requirements(challenger)
    names = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    return "; ".join(f"its {name}: {old.get(name)!s:.40}, not {new.get(name)!s:.40}" for name in names)


def _digest(rows: Tensors) -> str:
    digest = hashlib.sha256()
    for name in ("inputs", "targets"):
        digest.update(f"{rows[name].dtype} {rows[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(rows[name]).data)
    return digest.hexdigest()


def _requirements(bundle: Bundle) -> dict[str, Any]:
    """Return what decides how the rows of a bundle are made; the number of time steps may differ."""
    card = bundle.card
    fields = {"labels", "quantiles", "prices", "text", "array"}
    unimportant = {"prices": {"every_step"}, "text": {"pretokenized", "vocabulary", "max_tokens", "truncation"}}
    found: dict[str, Any] = {"task": card.title} | dict(flat(card.model_dump(include=fields, exclude=unimportant)))
    found |= {f"input {one.name}": (one.dtype, len(one.shape), *one.shape[2:]) for one in card.inputs}
    for one in card.outputs:
        found[f"output {one.name}"] = (one.dtype, *(size for size in one.shape if isinstance(size, int)))
    for file, vocabulary in bundle.vocabularies.items():
        found[f"vocabulary {file}"] = f"SHA-256 {hashlib.sha256(vocabulary.to_json().encode()).hexdigest()[:12]}"
    return found
