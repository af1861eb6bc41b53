"""What the plots of a domain are made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unroll.config.section import TaskSection
from unroll.features.samples import Samples, Tensors
from unroll.metrics.metrics import Prediction


@dataclass(frozen=True)
class Results:
    """Predictions of an experiment on its test rows.

    Attributes:
        folder: Folder for the pictures.
        title: Name of the experiment.
        section: The task in params.yaml.
        samples: All samples of the task, with vocabularies and notes.
        prediction: Raw outputs [sample, …].
        rows: The test rows.
        evaluation: Contents of evaluation.json.
    """

    folder: Path
    title: str
    section: TaskSection
    samples: Samples
    prediction: Prediction
    rows: Tensors
    evaluation: Mapping[str, Any]
