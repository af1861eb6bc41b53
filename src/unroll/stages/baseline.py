"""Stage `baseline`: predict the test rows of a task without a network."""

import numpy as np
from safetensors.numpy import save_file

from unroll import paths
from unroll.config.reading import load_section
from unroll.domains import domain_of
from unroll.features.samples import Samples
from unroll.files import replacing, require
from unroll.metrics.metrics import Metrics


def run(name: str) -> None:
    """Write the predictions of the baselines of task `name` to data/baselines/NAME."""
    section = load_section("tasks", name)
    samples = Samples.load(require(paths.features(name), f"featurize {name}"))
    metrics: Metrics = domain_of(section.domain).part("metrics").make_metrics(section, samples)
    predictions = metrics.baselines(samples)
    path = paths.baselines(name) / "predictions.safetensors"
    with replacing(path) as part:
        save_file({key: np.ascontiguousarray(value) for key, value in predictions.items()}, part)
    rows = samples.test_rows()
    for key, prediction in predictions.items():
        print(f"{name}: {key} {metrics.headline} {metrics.evaluate(prediction, rows)[metrics.headline]:.5g}")
