"""Fixtures of all tests: one thread, no store or server but the test's own, and tiny generated data."""

import functools
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

# Set before torch is imported: threads slow small networks down, and other tests run at the same time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pytest
import tiny_tables
import yaml
from pydantic import TypeAdapter

from unroll.config.experiments import Model, Training
from unroll.config.params import TASK
from unroll.config.splits import TimeSplits
from unroll.domains import domain_of

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """Hide the stores of other tests and of the user from each test."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "DVC_"))]:
        del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as working directory, to which all paths of unroll are relative."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def _empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store without runs; to create its tables takes longer than most tests."""
    import warnings

    import mlflow

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def own_store(here: Path, _empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`here` with an MLflow store; its address is absolute because MLflow keeps the first relative one open."""
    shutil.copy(_empty_store, here / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here / 'mlflow.db'}")
    return here


SPLITS = yaml.safe_load("""
dates:
  kind: dates
  train: {last: "2011-03-31"}
  valid_share: 0.2
  test:
    april: {first: "2011-04-01", last: "2011-04-30"}
    spring: {first: "2011-04-01", last: "2011-05-31"}
last_share: {kind: last_share, test_share: 0.25, valid_share: 0.2}
walk_forward: {kind: walk_forward, first_year: 2011, last_year: 2012, valid_share: 0.2}
""")

SECTIONS: dict[str, dict[str, Any]] = yaml.safe_load("""
digits: {domain: digits, kind: classification, dataset: mnist, valid_rows: 20}
price: {domain: prices, kind: level, dataset: stock, columns: [close], target: close, window: 8}
price_steps:
  {domain: prices, kind: level, dataset: stock, columns: [open, close], target: close, window: 8, every_step: true}
log_return:
  {domain: prices, kind: log_return, dataset: stock, columns: [open, high, low, close, volume], target: close,
   window: 8}
return_quantiles:
  {domain: prices, kind: return_quantiles, dataset: stock, window: 5, volatility_window: 10,
   quantiles: [0.1, 0.25, 0.5, 0.75, 0.9]}
forecast:
  {domain: series, kind: forecast, dataset: sensors, history: 14, horizon: 3, targets: [load, heat], inputs: [wind],
   known: [holiday], season: 7, start: linear, quantiles: [0.1, 0.5, 0.9], splits: {refits: 2, valid_share: 0.2}}
text_class:
  {domain: texts, kind: classification, dataset: reviews, classes: [bad, good], max_tokens: 14,
   tokenizer: {kind: word, vocabulary_size: 40}, splits: &shares {valid_share: 0.2, test_share: 0.2}}
translation:
  {domain: pairs, kind: translation, dataset: sentence_pairs, max_tokens: 24,
   tokenizer: {kind: bpe, vocabulary_size: 60}, splits: *shares, decoding: {beams: 3, max_length: 12}}
language_model:
  {domain: articles, kind: language_model, dataset: articles, tokenizer: {kind: split}, window: 7,
   decoding: {beams: 3, max_length: 9, temperature: 0.8, top_k: 5}}
tunes:
  {domain: tunes, kind: language_model, dataset: tunes, min_count: 1, splits: *shares,
   decoding: {beams: 2, max_length: 10, temperature: 0.8}}
recording_class:
  {domain: recordings, kind: classification, dataset: spoken_digits, voices: 3, valid_share: 0.2, test_share: 0.2}
sound_class:
  {domain: recordings, kind: classification, dataset: words, valid_share: 0.25, test_share: 0.25,
   front_end: {kind: mfcc, window_ms: 4, hop_ms: 2, mels: 6, coefficients: 5}}
strip_columns:
  {domain: strips, kind: column_labels, dataset: mnist, digits: [1, 2], columns: 70, train: 40, valid: 10, test: 12}
strip_reading:
  {domain: strips, kind: reading, dataset: mnist, digits: [1, 2], columns: 70, train: 40, valid: 10, test: 12}
strip_captions:
  {domain: strips, kind: captions, dataset: mnist, digits: [1, 2], columns: 70, train: 40, valid: 10, test: 12,
   decoding: {beams: 3, max_length: 5}}
tags:
  {domain: tagged, kind: token_classification, dataset: tagged_sentences, tokenizer: {kind: split}, max_tokens: 12,
   characters: 5}
""")
SECTIONS["price"]["splits"] = SECTIONS["log_return"]["splits"] = SPLITS["dates"]
SECTIONS["price_steps"]["splits"] = SPLITS["last_share"]
SECTIONS["return_quantiles"]["splits"] = SPLITS["walk_forward"]

READING = ("text_class", "translation", "language_model", "tunes", "tags")
"""Tasks whose inputs are tokens."""


@dataclass(frozen=True)
class Tiny:
    """Tiny tables, tasks, samples and settings, equal at each call."""

    kinds: tuple[str, ...] = tuple(SECTIONS)

    def plain(self, kind: str, **changes: Any) -> dict[str, Any]:
        """Return a task's section as in params.yaml; keys changed to None are left out."""
        section = {**json.loads(json.dumps(SECTIONS[kind])), **changes}
        return {key: value for key, value in section.items() if value is not None}

    def parameters(self, kind: str, name: str, task: str = "steps", **changes: Any) -> dict[str, Any]:
        """Return params.yaml with one dataset, task and experiment; `model` and `training` are the experiment's."""
        model = changes.pop("model", {"kind": "recurrent", "layers": [{"cell": "gru", "units": 4}]})
        training = {"epochs": 1, "batch_size": 8, "learning_rate": 0.01, "device": "cpu", **changes.pop("training", {})}
        section, domain = self.plain(kind, **changes), self.table_domain(kind)
        dataset = {"domain": domain, "sources": [{"kind": "path", "path": "x"}]}
        return {
            "datasets": {section["dataset"]: dataset | ({"ticker": "X"} if domain == "prices" else {})},
            "tasks": {task: section},
            "experiments": {name: {"domain": section["domain"], "task": task, "model": model, "training": training}},
            "scoring": {"model": f"models/{name}"},
        }

    def section(self, kind: str, **changes: Any) -> Any:
        return TypeAdapter(TASK).validate_json(json.dumps(self.plain(kind, **changes)))

    def splits(self, kind: str, **changes: Any) -> Any:
        return TypeAdapter(TimeSplits).validate_json(json.dumps({**SPLITS[kind], **changes}))

    def model(self, *cells: str, units: int = 6, **options: Any) -> Any:
        """Return a recurrent model of these cells, or a dense one without cells."""
        if not cells:
            return TypeAdapter(Model).validate_json(json.dumps({"kind": "dense", "units": [16, 8], **options}))
        layers = [{"cell": cell, "units": units} for cell in cells]
        return TypeAdapter(Model).validate_json(json.dumps({"kind": "recurrent", "layers": layers, **options}))

    def writer(self, cell: str, *read: str, attention: str = "none", units: int = 6, **options: Any) -> Any:
        """Return an encoder-decoder: a decoder of one cell, and an encoder of others or, without any, a dense one."""
        both_ways = {"bidirectional": options.pop("bidirectional")} if "bidirectional" in options else {}
        content = {
            "kind": "encoder_decoder",
            "encoder": json.loads(self.model(*read, units=units, **both_ways).model_dump_json()),
            "decoder": {"cell": cell, "units": units, "attention": attention},
            "embedding": {"size": 5},
            **options,
        }
        return TypeAdapter(Model).validate_json(json.dumps(content))

    def model_for(self, kind: str, cell: str, units: int = 6, **options: Any) -> Any:
        """Return a small model of one cell for a task."""
        if kind == "translation":
            return self.writer(cell, cell, attention="dot", units=units, **options)
        if kind == "strip_captions":
            return self.writer(cell, units=units, **options)
        if kind in READING:
            options = {"embedding": {"size": 5}, **options}
        return self.model(cell, units=units, **options)

    def training(self, **changes: Any) -> Training:
        content = {"epochs": 3, "batch_size": 16, "learning_rate": 0.01, "device": "cpu", **changes}
        return TypeAdapter(Training).validate_json(json.dumps(content))

    def prices(
        self, days: int = 780, tickers: tuple[str, ...] = ("ONE",), first: date = date(2010, 1, 4), seed: int = 0
    ) -> pa.Table:
        """Return a table of random walks on weekdays, as `ingest` writes it."""
        rng = np.random.default_rng(seed)
        calendar = np.busday_offset(np.datetime64(first), np.arange(days), roll="forward")
        parts = []
        for position, ticker in enumerate(tickers):
            close = 50 * (1 + position) * np.exp(np.cumsum(rng.normal(0.0004, 0.012, days)))
            opening = close * np.exp(rng.normal(0, 0.004, days))
            parts.append(
                pa.table(
                    {
                        "ticker": pa.array([ticker] * days, pa.string()),
                        "date": pa.array(calendar.astype("datetime64[D]"), pa.date32()),
                        "open": opening,
                        "high": np.maximum(opening, close) * 1.002,
                        "low": np.minimum(opening, close) * 0.998,
                        "close": close,
                        "adj_close": pa.nulls(days, pa.float64()),
                        "volume": pa.array(rng.integers(1_000, 100_000, days), pa.int64()),
                        "split": pa.nulls(days, pa.string()),
                    }
                )
            )
        return pa.concat_tables(parts)

    def digits(self, train: int = 160, test: int = 60, seed: int = 0) -> pa.Table:
        """Return a table of artificial digits: six rows of pixels in ten orders, at random heights, with noise."""
        rng = np.random.default_rng(seed)
        rows = np.random.default_rng(7).integers(0, 2, (6, 28)) * 255
        patterns = rows[[np.random.default_rng(label).permutation(6) for label in range(10)]]
        count = train + test
        labels = np.arange(count) % 10
        images = rng.integers(0, 60, (count, 28, 28))
        for image, label, top in zip(images, labels, rng.integers(0, 22, count), strict=True):
            image[top : top + 6] = np.maximum(image[top : top + 6], patterns[label])
        pixels = pa.FixedSizeListArray.from_arrays(pa.array(images.astype(np.uint8).reshape(-1)), 784)
        return pa.table(
            {
                "row_id": pa.array(np.arange(count), pa.int64()),
                "split": pa.array(["train"] * train + ["test"] * test, pa.string()),
                "label": pa.array(labels.astype(np.uint8)),
                "pixels": pixels,
            }
        )

    def table_domain(self, kind: str) -> str:
        return domain_of(SECTIONS[kind]["domain"]).table

    def table(self, kind: str, section: Any) -> pa.Table:
        if section.domain == "texts":
            return tiny_tables.texts(rated=section.thresholds is not None)
        if kind == "sound_class":
            return tiny_tables.sound()
        domain = self.table_domain(kind)
        own = {"digits": self.digits, "prices": self.prices}
        table: pa.Table = (own.get(domain) or getattr(tiny_tables, domain))()
        return table

    def card(self, kind: str) -> Any:
        from unroll.export.bundle import make_card
        from unroll.inference.card import Card

        task = self.task(kind)
        content = make_card("tiny", task, task.topology, dynamic_time=True, data={}, metrics={})
        return Card.model_validate_json(json.dumps(content, default=str))

    def samples(self, kind: str, **changes: Any) -> Any:
        """Return the samples of a task on the tiny table."""
        if not changes:
            return _samples(self, kind)
        section = self.section(kind, **changes)
        return domain_of(section.domain).part("samples").make_samples(self.table(kind, section), section, kind)

    def task(self, kind: str, **changes: Any) -> Any:
        from unroll.domains.task import make_task

        return make_task(kind, self.section(kind, **changes), self.samples(kind, **changes))


@functools.cache
def _samples(tiny: Tiny, kind: str) -> Any:
    return tiny.samples(kind, dataset=SECTIONS[kind]["dataset"])


@pytest.fixture(scope="session")
def tiny() -> Tiny:
    return Tiny()
