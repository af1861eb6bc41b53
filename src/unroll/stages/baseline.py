"""What a sceptic would predict with, for the test rows of a task."""

import numpy as np
from safetensors.numpy import save_file

from unroll import config, paths
from unroll.domains.tasks import task_of
from unroll.evaluation.evaluation import metrics
from unroll.features.samples import Samples
from unroll.files import replacing, require


def run(name: str) -> None:
    """Writes the predictions of a task's baselines."""
    section = config.load_section("tasks", name)
    samples = Samples.load(require(paths.features(name), f"featurize {name}"))
    task = task_of(name, section, samples)
    predictions = task.baselines(samples)
    path = paths.baselines(name) / "predictions.safetensors"
    with replacing(path) as part:
        save_file({key: np.ascontiguousarray(value) for key, value in predictions.items()}, part)
    rows = samples.test_rows()
    for key, prediction in predictions.items():
        print(f"{name}: {key} {task.headline} {metrics(task, prediction, rows)[task.headline]:.5g}")
