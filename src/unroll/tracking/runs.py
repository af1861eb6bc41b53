"""One MLflow experiment per task, one run per training: `train` starts the run, `send_results` resumes it."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel

from unroll import paths
from unroll.config.experiments import Experiment
from unroll.config.section import TaskSection
from unroll.files import digest_of, read_json, write_json
from unroll.redaction import redacted
from unroll.tracking.provenance import data_hashes, git_state
from unroll.tracking.store import experiment_id, mlflow_errors, one_line, open_store, run_exists, translated_errors

_METRICS_PER_CALL = 500
"""MLflow accepts up to 1,000."""


class Run:
    """The MLflow run of an experiment.

    Used as a context manager: leaving it ends the run, as failed if an exception passes through.
    """

    _later = "`unroll compare` will send the metrics"
    """What to do after the store was unavailable, for the log."""

    def __init__(self, client: Any, run_id: str, metric: str) -> None:
        self._client, self.run_id, self._metric = client, run_id, metric
        self._away = False

    @classmethod
    def start(cls, name: str, experiment: Experiment, task: TaskSection, metric: str, note: Path) -> Self:
        """Start a run, or continue that of a killed process.

        Args:
            name: Name of the experiment.
            experiment: Its parameters.
            task: Its task's parameters.
            metric: The headline metric; its values on the validation split are logged as `valid_METRIC`.
            note: File that holds the run's id and outlives a killed process.

        Raises:
            ServiceUnavailable, TrackingError: The store cannot be used; nothing has been trained yet.
        """
        with open_store() as client:
            run_id = read_json(note)["run_id"] if note.exists() else None
            if run_id is None or not run_exists(client, run_id):
                run_id = create_run(client, name, experiment, task, _tags(name))
            write_json(note, {"run_id": run_id})
        write_json(paths.provenance(name), {**git_state(), "mlflow_run_id": run_id})
        return cls(client, run_id, metric)

    @classmethod
    def resume(cls, name: str, experiment: Experiment, task: TaskSection, metric: str) -> Self:
        """Continue the run that `train` started.

        If this store does not know it (DVC's cache may have restored the weights), a new run is created, tagged with
        the id of the other one.

        Raises:
            ServiceUnavailable, TrackingError: The store cannot be used.
        """
        path = paths.provenance(name)
        provenance = read_json(path) if path.exists() else {}
        weights = digest_of(paths.weights(name))
        # DVC may have restored other weights since this file was written.
        run_id = provenance.get("mlflow_run_id") if provenance.get("weights_sha256") == weights else None
        with open_store() as client:
            if run_id is None or not run_exists(client, run_id):
                tags = {"unroll.restored": "true"} | ({"unroll.restored_from_run": run_id} if run_id else {})
                run_id = create_run(client, name, experiment, task, _tags(name) | tags)
                write_json(path, {**git_state(), "mlflow_run_id": run_id, "weights_sha256": weights})
        return cls(client, run_id, metric)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._try(lambda: self._client.set_terminated(self.run_id, "FINISHED" if kind is None else "FAILED"))

    def log_epoch(self, prefix: str, row: Mapping[str, Any]) -> None:
        """Log the metrics of an epoch. If the store is unavailable, `send_results` sends them later."""
        self._try(lambda: self._log_metrics(self._metrics_of(prefix, row)))

    def log_history(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Log all rows of `history.csv`; MLflow keeps those that it lacks."""
        alone = len({(row["fold"], row["seed"]) for row in history}) == 1
        prefixes = [member_prefix(row["fold"], row["seed"], alone) for row in history]
        metrics = [one for pair in zip(prefixes, history, strict=True) for one in self._metrics_of(*pair)]
        with translated_errors():
            self._log_metrics(metrics)

    def log_figures(self, figures: Mapping[str, Any]) -> None:
        """Log nested numbers as metrics with dotted names, and texts (such as a metric's signature) as tags."""
        from mlflow.entities import Metric, RunTag

        found, now = list(flat(figures)), int(time.time() * 1000)
        metrics = [Metric(name, float(value), now, 0) for name, value in found if isinstance(value, int | float)]
        tags = [RunTag(name, redacted(value)) for name, value in found if isinstance(value, str)]
        with translated_errors():
            self._log_metrics(metrics)
            self._client.log_batch(self.run_id, tags=tags)

    def log_files(self, folder: Path, destination: str) -> None:
        """Log the files of a folder as artifacts."""
        with translated_errors():
            self._client.log_artifacts(self.run_id, str(folder), destination)

    def log_model(self, bundle: Path) -> None:
        """Log the ONNX model with its signature, and the bundle as it is shipped."""
        import mlflow
        import onnx

        card = read_json(bundle / "card.json")
        with translated_errors():
            self._client.log_artifacts(self.run_id, str(bundle), "bundle")
            provenance = paths.provenance(card["name"])
            if provenance.exists():
                # Beside the bundle, where `load_bundle` looks for it.
                self._client.log_artifact(self.run_id, str(provenance))
            with mlflow.start_run(run_id=self.run_id, log_system_metrics=False):
                mlflow.onnx.log_model(
                    onnx.load(bundle / "model.onnx"),
                    name=card["name"],
                    signature=signature_of(card),
                    # Stated, or MLflow would start a process to find out.
                    pip_requirements=["onnx", "onnxruntime", "numpy"],
                    metadata={"task": card["task"]["name"], "topology": card["task"]["topology"]},
                )

    def _metrics_of(self, prefix: str, row: Mapping[str, Any]) -> list[Any]:
        from mlflow.entities import Metric

        # Without a time: the same metric that is sent again is the same row of the store.
        return [
            Metric(prefix + name.replace("valid_metric", f"valid_{self._metric}"), float(value), 0, int(row["epoch"]))
            for name, value in row.items()
            if name not in ("fold", "seed", "epoch") and value not in (None, "")
        ]

    def _log_metrics(self, metrics: Sequence[Any], run_id: str = "") -> None:
        for start in range(0, len(metrics), _METRICS_PER_CALL):
            self._client.log_batch(run_id or self.run_id, metrics[start : start + _METRICS_PER_CALL])

    def _try(self, call: Callable[[], object]) -> None:
        """Call the store; once it was unavailable, do not call it again."""
        if self._away:
            return
        try:
            call()
        except mlflow_errors() as error:
            self._away = True
            logging.getLogger(__name__).warning(
                "the MLflow store is unavailable; %s: %s", self._later, redacted(one_line(error))
            )


def member_prefix(fold: str, seed: int | str, alone: bool) -> str:
    """Return the prefix of a network's metrics, such as `2013.seed0.`; empty for the only one of its experiment."""
    return "" if alone else f"{fold}.seed{seed}."


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings and pydantic models as (dotted name, value); lists are leaves."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if not isinstance(value, Mapping):
        yield prefix, value
        return
    for key, inner in value.items():
        # MLflow allows letters, digits and _ - . space : / in names.
        name = str(key).replace("+", "plus")
        yield from flat(inner, f"{prefix}.{name}" if prefix else name)


def signature_of(card: Mapping[str, Any]) -> Any:
    """Return MLflow's signature of a card's tensors; axes of any size are -1."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    def spec(tensor: Mapping[str, Any]) -> Any:
        shape = tuple(size if isinstance(size, int) else -1 for size in tensor["shape"])
        return TensorSpec(np.dtype(tensor["dtype"]), shape, tensor["name"])

    return ModelSignature(*(Schema([spec(one) for one in card[side]]) for side in ("inputs", "outputs")))


def _tags(name: str) -> dict[str, str]:
    return {"unroll.experiment": name, "unroll.dvc_stage": f"train@{name}"}


def create_run(client: Any, name: str, experiment: Experiment, task: TaskSection, tags: Mapping[str, str]) -> str:
    """Create a run of this name with parameters, commit and data; return its id."""
    from mlflow.entities import Dataset, DatasetInput, Param

    commit = git_state()
    run = client.create_run(
        experiment_id(client, experiment.task),
        run_name=name,
        tags={
            "unroll.git_commit": str(commit["git_commit"]),
            "unroll.git_dirty": str(commit["git_dirty"]).lower(),
            **tags,
        },
    )
    # How the bundle is made may change later, without training again.
    settings = [*flat(experiment.model_dump(mode="json", exclude={"export", "tune"})), *flat(task, "task")]
    client.log_batch(run.info.run_id, params=[Param(key, redacted(str(value))[:500]) for key, value in settings])
    hashes = data_hashes(paths.raw(task.dataset), paths.features(experiment.task))
    inputs = [DatasetInput(Dataset(folder, md5, "dvc", f"dvc.lock: {folder}")) for folder, md5 in hashes.items()]
    if inputs:
        client.log_inputs(run.info.run_id, inputs)
    return str(run.info.run_id)
