"""What is seen of models at work: drift of each scoring run, and quality once the truth is known."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unroll.tracking.store import store

EXPERIMENT = "live"
"""MLflow's experiment of all models at work."""
_ARTIFACTS = Path("mlruns")


def log_live(
    name: str,
    model_version: str,
    metrics: Mapping[str, float],
    *,
    registered: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    files: Sequence[Path] = (),
) -> str:
    """Logs a run that has ended into the experiment `live`.

    Args:
        name: Of the run: `drift mnist-lstm`, say.
        model_version: `NAME@SHA12`, for the tag `unroll.model_version`.
        metrics: By name.
        registered: Name, version and run_id of the model in the registry, for the tags `unroll.registered.…`.
        tags: More of them.
        files: Artifacts.

    Returns:
        The run's id.

    Raises:
        TrackingError: The store cannot be used.
    """
    about = {f"unroll.registered.{key}": str(value) for key, value in (registered or {}).items()}
    with store() as client:
        from mlflow.entities import Metric

        run = client.create_run(
            _experiment(client),
            run_name=name,
            tags={"unroll.model_version": model_version, **about, **(tags or {})},
        )
        run_id = str(run.info.run_id)
        client.log_batch(run_id, metrics=[Metric(key, float(value), 0, 0) for key, value in metrics.items()])
        for path in files:
            client.log_artifact(run_id, str(path))
        client.set_terminated(run_id, "FINISHED")
    return run_id


def _experiment(client: Any) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    local = os.environ["MLFLOW_TRACKING_URI"].startswith("sqlite:")
    place = (_ARTIFACTS.resolve() / EXPERIMENT).as_uri() if local else None
    # Without it, MLflow's pages open in their view for language models.
    kind = {"mlflow.experimentKind": "custom_model_development"}
    return str(client.create_experiment(EXPERIMENT, artifact_location=place, tags=kind))
