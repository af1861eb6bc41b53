"""From a validated table to sample tensors and splits."""

from typing import Any

import numpy as np
import pyarrow.parquet as pq

from unroll import params, paths
from unroll.errors import DataError
from unroll.features.build import digit_samples, price_samples
from unroll.features.samples import Samples
from unroll.files import read_json, require, write_json


def run(name: str) -> None:
    """Writes the samples, the splits and a summary of a task."""
    task = params.load_section("tasks", name)
    verdict = require(paths.validation(task.dataset) / "verdict.json", f"validate {task.dataset}")
    if not read_json(verdict)["passed"]:
        raise DataError(f"{verdict}: {task.dataset} failed its expectations; run `unroll validate {task.dataset}`")
    if isinstance(task, params.DigitTask):
        samples = digit_samples(pq.read_table(paths.raw(task.dataset) / "digits.parquet"), task, name)
    else:
        samples = price_samples(pq.read_table(paths.raw(task.dataset) / "prices.parquet"), task, name)
    folder = paths.features(name)
    samples.save(folder)
    write_json(folder / "summary.json", summary(samples))
    sizes = samples.tensors["inputs"].shape
    parts = "; ".join(
        f"{f.name}: {len(f.train)} train, {len(f.valid)} valid, {len(f.test)} test" for f in samples.folds
    )
    print(f"{name}: inputs {list(sizes)} {samples.tensors['inputs'].dtype}; {parts}")


def summary(samples: Samples) -> dict[str, Any]:
    """What a reader wants to know of the samples without opening them."""
    found: dict[str, Any] = {
        "tensors": {key: [str(value.dtype), *value.shape] for key, value in samples.tensors.items()},
        "folds": {},
    }
    for fold in samples.folds:
        parts = {"train": fold.train, "valid": fold.valid, "test": fold.test}
        found["folds"][fold.name] = {
            part: {"rows": len(index), **_days(samples, index)} for part, index in parts.items()
        }
    return found


def _days(samples: Samples, index: Any) -> dict[str, str]:
    if "day" not in samples.tensors or not len(index):
        return {}
    first, last = samples.tensors["first_target_day"][index].min(), samples.tensors["day"][index].max()
    return {"first_day": str(np.datetime64(int(first), "D")), "last_day": str(np.datetime64(int(last), "D"))}
