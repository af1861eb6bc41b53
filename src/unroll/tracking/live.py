"""Models in use: scoring jobs with their drift, and quality once the truth is known."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from unroll.redaction import redacted
from unroll.tracking.store import experiment_id, mlflow_errors, open_store

EXPERIMENT = "live"
"""MLflow's experiment for all models at work."""


def log_live(
    name: str,
    model_version: str,
    metrics: Mapping[str, float],
    *,
    registered: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    files: Sequence[Path] = (),
    texts: Mapping[str, str] | None = None,
) -> str:
    """Log a finished run to the experiment `live`, and return its id; it is marked as failed if some of it is missing.

    Args:
        name: Name of the run, such as `score mnist-lstm@0123456789ab`.
        model_version: `NAME@SHA12`, for the tag `unroll.model_version`.
        metrics: Values by name.
        registered: Name, version and run_id of the model in the registry, for the tags `unroll.registered.…`.
        tags: Further tags.
        files: Files that become artifacts.
        texts: Artifacts by name, as text.

    Raises:
        ServiceUnavailable, TrackingError: The store cannot be used.
    """
    about = {f"unroll.registered.{key}": str(value) for key, value in (registered or {}).items()}
    with open_store() as client:
        from mlflow.entities import Metric

        run = client.create_run(
            experiment_id(client, EXPERIMENT),
            run_name=name,
            tags={"unroll.model_version": model_version, **about, **(tags or {})},
        )
        run_id = str(run.info.run_id)
        try:
            client.log_batch(run_id, metrics=[Metric(key, float(value), 0, 0) for key, value in metrics.items()])
            for path in files:
                client.log_artifact(run_id, str(path))
            for artifact, text in (texts or {}).items():
                client.log_text(run_id, redacted(text), artifact)
        except BaseException:
            # Otherwise it would be running forever. A store that does not answer cannot be updated.
            with contextlib.suppress(*mlflow_errors()):
                client.set_terminated(run_id, "FAILED")
            raise
        client.set_terminated(run_id, "FINISHED")
    return run_id
