"""The MLflow store: SQLite in the repository, or whatever `MLFLOW_TRACKING_URI` names."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from unroll import paths
from unroll.errors import TrackingError
from unroll.redaction import redacted

DEFAULT_STORE = "sqlite:///mlflow.db"
_ARTIFACTS = Path("mlruns")
# A server that is away must not hold training up: fail within seconds, and send later what is missing.
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


@contextlib.contextmanager
def store() -> Iterator[Any]:
    """An MLflow client, once the store has answered.

    Raises:
        TrackingError: It did not, or does not while the block runs.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    _take_password_out()
    uri = os.environ.setdefault("MLFLOW_TRACKING_URI", DEFAULT_STORE)
    import mlflow

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    mlflow.set_tracking_uri(uri)
    with contextlib.ExitStack() as stack:
        if uri.startswith("sqlite:"):
            # Two processes that make the tables at once would stop each other.
            paths.STATE.mkdir(exist_ok=True)
            stack.enter_context(FileLock(paths.STATE / "mlflow.lock"))
        stack.enter_context(reachable())
        client = mlflow.MlflowClient()
        client.search_experiments(max_results=1)
        yield client


def _take_password_out() -> None:
    """Moves user and password of an HTTP address to where MLflow looks for them, for it tells the address in errors."""
    uri = urlsplit(os.environ.get("MLFLOW_TRACKING_URI", ""))
    if uri.scheme not in ("http", "https") or "@" not in uri.netloc:
        return
    user, _, place = uri.netloc.rpartition("@")
    name, _, password = user.partition(":")
    os.environ["MLFLOW_TRACKING_URI"] = uri._replace(netloc=place).geturl()
    os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(name), unquote(password)


@contextlib.contextmanager
def reachable() -> Iterator[None]:
    """Turns what MLflow raises while the block runs into a TrackingError that says what to do."""
    try:
        yield
    except store_errors() as error:
        raise TrackingError(
            f"the MLflow store at {address()} cannot be used: {short(error)}. "
            "Start it, correct MLFLOW_TRACKING_URI, or unset it to use mlflow.db here"
        ) from error


def address() -> str:
    """Of the store, without user and password."""
    return redacted(os.environ.get("MLFLOW_TRACKING_URI", DEFAULT_STORE))


def store_errors() -> tuple[type[Exception], ...]:
    """What a store that is away or broken makes MLflow raise."""
    import requests
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    # OSError: the folder of a local store that cannot be made or written.
    return (MlflowException, requests.RequestException, SQLAlchemyError, OSError)


def short(error: Exception) -> str:
    """An error in 200 characters of one line."""
    return redacted(" ".join(str(error).split()))[:200]


def experiment_id(client: Any, name: str) -> str:
    """Of MLflow's experiment of this name, which is made where it is not there."""
    found = client.get_experiment_by_name(name)
    if found is None:
        local = os.environ["MLFLOW_TRACKING_URI"].startswith("sqlite:")
        place = (_ARTIFACTS.resolve() / name).as_uri() if local else None
        # Without it, MLflow's pages open in their view for language models.
        kind = {"mlflow.experimentKind": "custom_model_development"}
        with made_meanwhile():
            client.create_experiment(name, artifact_location=place, tags=kind)
        found = client.get_experiment_by_name(name)
    return str(found.experiment_id)


@contextlib.contextmanager
def made_meanwhile() -> Iterator[None]:
    """Around the making of what one look before was not there: two stages that start together both make it."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def known(client: Any, run_id: str) -> bool:
    """Whether the store has a run that was not deleted."""
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
