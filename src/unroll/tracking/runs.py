"""One MLflow experiment a task, one run an experiment run: `train` opens the run, `evaluate` and `export` resume it."""

import logging
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from pydantic import BaseModel

from unroll import paths
from unroll.config.experiments import Experiment
from unroll.config.section import TaskSection
from unroll.files import digest_of, read_json, write_json
from unroll.tracking.store import experiment_id, known, reachable, short, store, store_errors

_MOST_METRICS = 500
"""Of one call; MLflow takes 1,000 entries."""


class Run:
    """The MLflow run of an experiment.

    Used as a context: leaving it ends the run, as failed where an exception passes through.
    """

    def __init__(self, client: Any, run_id: str, metric: str) -> None:
        self._client, self.run_id, self._metric = client, run_id, metric
        self._away = False

    @classmethod
    def start(cls, name: str, experiment: Experiment, task: TaskSection, metric: str, note: Path) -> Self:
        """Opens a run, or goes on with the one that a killed training left.

        Args:
            name: Of the experiment.
            experiment: Its parameters.
            task: Its task's parameters.
            metric: The headline metric; its values on the validation split are logged as `valid_METRIC`.
            note: File that outlives a killed training and holds the run's id.

        Raises:
            TrackingError: The store cannot be used; nothing has been trained yet.
        """
        with store() as client:
            run_id = read_json(note)["run_id"] if note.exists() else None
            if run_id is None or not known(client, run_id):
                run_id = _create(client, name, experiment, task, {})
            write_json(note, {"run_id": run_id})
        write_json(paths.provenance(name), {**_commit(), "mlflow_run_id": run_id})
        return cls(client, run_id, metric)

    @classmethod
    def resume(cls, name: str, experiment: Experiment, task: TaskSection, metric: str) -> Self:
        """Goes on with the run that `train` opened.

        Where this store does not know it (the weights came from DVC's cache, say), a new run is opened and tagged with
        the other's id, if there is one.

        Raises:
            TrackingError: The store cannot be used.
        """
        path = paths.provenance(name)
        provenance = read_json(path) if path.exists() else {}
        weights = digest_of(paths.weights(name))
        # DVC may have brought other weights back since this file was written.
        run_id = provenance.get("mlflow_run_id") if provenance.get("weights_sha256") == weights else None
        with store() as client:
            if run_id is None or not known(client, run_id):
                tags = {"unroll.restored": "true"} | ({"unroll.restored_from_run": run_id} if run_id else {})
                run_id = _create(client, name, experiment, task, tags)
                write_json(path, {**_commit(), "mlflow_run_id": run_id, "weights_sha256": weights})
        return cls(client, run_id, metric)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._try(lambda: self._client.set_terminated(self.run_id, "FINISHED" if kind is None else "FAILED"))

    def log_epoch(self, prefix: str, row: Mapping[str, Any]) -> None:
        """Sends an epoch's metrics. A store that is away costs nothing: `send_history` sends them later."""
        self._try(lambda: self._send(prefix, [row]))

    def send_history(self, history: Sequence[Mapping[str, Any]]) -> bool:
        """Sends what the store lacks of `history.csv`; False where the store is away."""
        self._away = False
        alone = len({(row["fold"], row["seed"]) for row in history}) == 1
        members: dict[str, list[Mapping[str, Any]]] = {}
        for row in history:
            members.setdefault(member_prefix(row["fold"], row["seed"], alone), []).append(row)

        def send() -> None:
            for prefix, rows in members.items():
                there = {metric.step for metric in self._client.get_metric_history(self.run_id, f"{prefix}train_loss")}
                self._send(prefix, [row for row in rows if row["epoch"] not in there])

        return self._try(send)

    def log_figures(self, figures: Mapping[str, Any]) -> None:
        """Logs nested numbers under dotted names, and texts (a metric's signature) as tags."""
        from mlflow.entities import Metric, RunTag

        found, now = list(flat(figures)), int(time.time() * 1000)
        metrics = [Metric(name, float(value), now, 0) for name, value in found if isinstance(value, int | float)]
        tags = [RunTag(name, value) for name, value in found if isinstance(value, str)]
        with reachable():
            self._log_metrics(metrics)
            self._client.log_batch(self.run_id, tags=tags)

    def log_files(self, folder: Path, place: str) -> None:
        """Logs a folder's files as artifacts."""
        with reachable():
            self._client.log_artifacts(self.run_id, str(folder), place)

    def log_model(self, bundle: Path, card: Mapping[str, Any]) -> None:
        """Logs the ONNX model with its signature, and the bundle as it is shipped."""
        import mlflow
        import numpy as np
        import onnx
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        def schema(specs: Sequence[Mapping[str, Any]]) -> Any:
            return Schema(
                [
                    TensorSpec(
                        np.dtype(one["dtype"]),
                        tuple(size if isinstance(size, int) else -1 for size in one["shape"]),
                        one["name"],
                    )
                    for one in specs
                ]
            )

        with reachable():
            self._client.log_artifacts(self.run_id, str(bundle), "bundle")
            provenance = paths.provenance(card["name"])
            if provenance.exists():
                # Beside the bundle, where it is looked for.
                self._client.log_artifact(self.run_id, str(provenance))
            with mlflow.start_run(run_id=self.run_id, log_system_metrics=False):
                mlflow.onnx.log_model(
                    onnx.load(bundle / "model.onnx"),
                    name=card["name"],
                    signature=ModelSignature(schema(card["inputs"]), schema(card["outputs"])),
                    # Told, or MLflow would start a process to find out.
                    pip_requirements=["onnx", "onnxruntime", "numpy"],
                    metadata={"task": card["task"]["name"], "topology": card["task"]["topology"]},
                )

    def _send(self, prefix: str, rows: Sequence[Mapping[str, Any]]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(prefix + name.replace("valid_metric", f"valid_{self._metric}"), float(value), 0, int(row["epoch"]))
            for row in rows
            for name, value in row.items()
            if name not in ("fold", "seed", "epoch") and value not in (None, "")
        ]
        self._log_metrics(metrics)

    def _log_metrics(self, metrics: Sequence[Any]) -> None:
        for start in range(0, len(metrics), _MOST_METRICS):
            self._client.log_batch(self.run_id, metrics[start : start + _MOST_METRICS])

    def _try(self, call: Any) -> bool:
        """Calls the store; once it was away, not again before `send_history`."""
        if self._away:
            return False
        try:
            call()
        except store_errors() as error:
            self._away = True
            logging.getLogger(__name__).warning("MLflow store is away, metrics will be sent later: %s", short(error))
            return False
        return True


def member_prefix(fold: str, seed: int | str, alone: bool) -> str:
    """Before a metric's name, where an experiment has several networks: `2013.seed0.`."""
    return "" if alone else f"{fold}.seed{seed}."


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings and models as (dotted name, leaf); lists are leaves."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if not isinstance(value, Mapping):
        yield prefix, value
        return
    for key, inner in value.items():
        # MLflow allows letters, digits and _ - . space : / in names.
        name = str(key).replace("+", "plus")
        yield from flat(inner, f"{prefix}.{name}" if prefix else name)


def data_hashes(*folders: Path) -> dict[str, str]:
    """DVC's md5 of folders in `dvc.lock`; none where there is no such file (a stage run by hand).

    Another DVC process may be writing the file at this moment, so one that lacks a folder is read again for a while.
    """
    lock = Path("dvc.lock")
    hashes: dict[str, str] = {}
    for _ in range(20):
        if not lock.exists():
            return {}
        hashes = _hashes(lock.read_text(encoding="utf-8"))
        if all(str(folder) in hashes for folder in folders):
            break
        time.sleep(0.1)
    return {str(folder): hashes[str(folder)] for folder in folders if str(folder) in hashes}


def _hashes(text: str) -> dict[str, str]:
    """Path → md5 of every output in a lock file; what is cut off is left out."""
    try:
        # dvc.lock has thousands of lines, which take a second without libyaml.
        stages = (yaml.load(text, Loader=yaml.CSafeLoader) or {}).get("stages") or {}
        outputs = [out for stage in stages.values() for out in (stage or {}).get("outs") or []]
        pairs = {str(out["path"]): str(out["md5"]) for out in outputs if "md5" in out}
    except (yaml.YAMLError, AttributeError, KeyError, TypeError):
        return {}
    return {path: md5 for path, md5 in pairs.items() if re.fullmatch(r"[0-9a-f]{32}(\.dir)?", md5)}


def _create(client: Any, name: str, experiment: Experiment, task: TaskSection, tags: Mapping[str, str]) -> str:
    from mlflow.entities import Dataset, DatasetInput, Param

    commit = _commit()
    run = client.create_run(
        experiment_id(client, experiment.task),
        run_name=name,
        tags={
            "unroll.experiment": name,
            "unroll.dvc_stage": f"train@{name}",
            "unroll.git_commit": str(commit["git_commit"]),
            "unroll.git_dirty": str(commit["git_dirty"]).lower(),
            **tags,
        },
    )
    settings = [*flat(experiment), *flat(task, "task")]
    client.log_batch(run.info.run_id, params=[Param(key, str(value)[:500]) for key, value in settings])
    hashes = data_hashes(paths.raw(task.dataset), paths.features(experiment.task))
    inputs = [DatasetInput(Dataset(place, md5, "dvc", f"dvc.lock: {place}")) for place, md5 in hashes.items()]
    if inputs:
        client.log_inputs(run.info.run_id, inputs)
    return str(run.info.run_id)


def _commit() -> dict[str, Any]:
    """The git commit that is checked out, and whether files differ from it (but dvc.lock, which a run writes)."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)  # noqa: S607 -- that of PATH
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    changes = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock")
    return {"git_commit": git("rev-parse", "HEAD"), "git_dirty": None if changes is None else bool(changes)}
