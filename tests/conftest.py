"""Shared by all tests: one thread, no store or server but a test's own, and small data that is made on the spot."""

import functools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

# Before torch is imported: small networks lose time to threads, and other tests run beside these.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pytest
from pydantic import TypeAdapter

from unroll import params

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """No test sees the store of another, or of the person who runs them."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "DVC_"))]:
        del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and the process in it: every path of unroll counts from there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


SPLITS = {
    "dates": {
        "kind": "dates",
        "train": {"last": "2011-03-31"},
        "valid_share": 0.2,
        "test": {
            "april": {"first": "2011-04-01", "last": "2011-04-30"},
            "spring": {"first": "2011-04-01", "last": "2011-05-31"},
        },
    },
    "last_share": {"kind": "last_share", "test_share": 0.25, "valid_share": 0.2},
    "walk_forward": {"kind": "walk_forward", "first_year": 2011, "last_year": 2012, "valid_share": 0.2},
}

SECTIONS: dict[str, dict[str, Any]] = {
    "digits": {"kind": "digits", "dataset": "mnist", "valid_rows": 20},
    "price": {
        "kind": "price",
        "dataset": "stock",
        "columns": ["close"],
        "target": "close",
        "window": 8,
        "splits": SPLITS["dates"],
    },
    "price_steps": {
        "kind": "price",
        "dataset": "stock",
        "columns": ["open", "close"],
        "target": "close",
        "window": 8,
        "every_step": True,
        "splits": SPLITS["last_share"],
    },
    "log_return": {
        "kind": "log_return",
        "dataset": "stock",
        "columns": ["open", "high", "low", "close", "volume"],
        "target": "close",
        "window": 8,
        "splits": SPLITS["dates"],
    },
    "return_quantiles": {
        "kind": "return_quantiles",
        "dataset": "stock",
        "window": 5,
        "volatility_window": 10,
        "quantiles": [0.1, 0.25, 0.5, 0.75, 0.9],
        "splits": SPLITS["walk_forward"],
    },
}


@dataclass(frozen=True)
class Tiny:
    """Small tables, tasks, samples and settings, all of them the same at each call."""

    kinds: tuple[str, ...] = tuple(SECTIONS)

    def plain(self, kind: str, **changes: Any) -> dict[str, Any]:
        """A task's section as it stands in params.yaml; a changed value that is None is left out."""
        section = {**json.loads(json.dumps(SECTIONS[kind])), **changes}
        return {key: value for key, value in section.items() if value is not None}

    def section(self, kind: str, **changes: Any) -> Any:
        """The same, typed."""
        return TypeAdapter(params.Task).validate_json(json.dumps(self.plain(kind, **changes)))

    def splits(self, kind: str, **changes: Any) -> Any:
        """Splits of time series, typed."""
        return TypeAdapter(params.TimeSplits).validate_json(json.dumps({**SPLITS[kind], **changes}))

    def model(self, *cells: str, units: int = 6, **options: Any) -> Any:
        """A recurrent model of these cells; a dense one for none."""
        if not cells:
            return TypeAdapter(params.Model).validate_json(json.dumps({"kind": "dense", "units": [16, 8], **options}))
        layers = [{"cell": cell, "units": units} for cell in cells]
        return TypeAdapter(params.Model).validate_json(json.dumps({"kind": "recurrent", "layers": layers, **options}))

    def training(self, **changes: Any) -> params.Training:
        """Settings of a short training."""
        content = {"epochs": 3, "batch_size": 16, "learning_rate": 0.01, "device": "cpu", **changes}
        return TypeAdapter(params.Training).validate_json(json.dumps(content))

    def prices(
        self, days: int = 780, tickers: tuple[str, ...] = ("ONE",), first: date = date(2010, 1, 4), seed: int = 0
    ) -> pa.Table:
        """A random walk of weekdays, as `ingest` writes it."""
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
        """Made digits: the same six rows in ten orders, each at a chance height on a noisy ground."""
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

    def samples(self, kind: str, **changes: Any) -> Any:
        """Samples of a task on the small table."""
        if not changes:
            return _samples(self, kind)
        from unroll.features.build import digit_samples, price_samples

        section = self.section(kind, **changes)
        if kind == "digits":
            return digit_samples(self.digits(), section, kind)
        return price_samples(self.prices(), section, kind)

    def task(self, kind: str, **changes: Any) -> Any:
        """The task itself."""
        from unroll.tasks import task_of

        return task_of(kind, self.section(kind, **changes))


@functools.cache
def _samples(tiny: Tiny, kind: str) -> Any:
    return tiny.samples(kind, dataset=SECTIONS[kind]["dataset"])


@pytest.fixture(scope="session")
def tiny() -> Tiny:
    """Small data and settings."""
    return Tiny()
