"""The MLflow store: SQLite in the repository, or the one that `MLFLOW_TRACKING_URI` names."""

import contextlib
import logging
import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from unroll import paths
from unroll.errors import ServiceUnavailable, TrackingError
from unroll.tracking.places import DEFAULT_STORE, artifacts_of, database_of, update_places

# An unavailable server must not delay training: fail within seconds, and send what is missing later.
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_PASSING = re.compile("starting up|shutting down|recovery|terminating connection|too many|connection slots").search
"""What PostgreSQL says, as a FATAL error too, while it restarts or has no connection left."""


@contextlib.contextmanager
def open_store() -> Iterator[Any]:
    """Yield an MLflow client, once the store has answered.

    Raises:
        ServiceUnavailable: The server does not answer, now or while the block runs.
        TrackingError: The store cannot be used for another reason.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    _move_password()
    uri = os.environ.setdefault("MLFLOW_TRACKING_URI", DEFAULT_STORE)
    import mlflow

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    mlflow.set_tracking_uri(uri)
    with contextlib.ExitStack() as stack:
        if database := database_of(uri):
            # Two processes that create the tables at the same time would stop each other. Blocks may be nested.
            paths.STATE.mkdir(exist_ok=True)
            stack.enter_context(FileLock(paths.STATE.resolve() / "mlflow.lock", is_singleton=True))
        stack.enter_context(translated_errors())
        _require_database(uri)
        client = mlflow.MlflowClient()
        client.search_experiments(max_results=1)
        if database:
            update_places(database)
        yield client


def _require_database(uri: str) -> None:
    """Connect to a database server once: MLflow itself would try for two minutes, with a warning each time."""
    if uri.startswith(("http", "sqlite")) or "://" not in uri:
        return
    import sqlalchemy

    # Nothing else limits the wait for a server that accepts connections and never answers.
    limit = {"connect_timeout": 10} if uri.startswith("postgresql") else {}
    try:
        sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool, connect_args=limit).connect().close()
    except ImportError as error:
        raise TrackingError(
            f"MLFLOW_TRACKING_URI names a database whose driver is not installed: {error}. For PostgreSQL, write "
            "postgresql+psycopg://…"
        ) from None


def _move_password() -> None:
    """Move user and password from the address to the variables that MLflow reads, for its errors quote the address."""
    uri = urlsplit(os.environ.get("MLFLOW_TRACKING_URI", ""))
    if uri.scheme not in ("http", "https") or "@" not in uri.netloc:
        return
    user, _, host = uri.netloc.rpartition("@")
    name, _, password = user.partition(":")
    os.environ["MLFLOW_TRACKING_URI"] = uri._replace(netloc=host).geturl()
    os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(name), unquote(password)


@contextlib.contextmanager
def translated_errors() -> Iterator[None]:
    """Turn what MLflow raises while the block runs into a ServiceUnavailable or TrackingError that says what to do."""
    try:
        yield
    except mlflow_errors() as error:
        raise error_for(error)(
            f"the MLflow store at {address()} cannot be used: {one_line(error)}. "
            "Start it, correct MLFLOW_TRACKING_URI, or unset it to use mlflow.db here"
        ) from error


def address() -> str:
    """Return the address of the store, which holds no password once the store was opened."""
    return os.environ.get("MLFLOW_TRACKING_URI", DEFAULT_STORE)


def mlflow_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that a missing or broken store makes MLflow raise."""
    import requests
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    # OSError: the folder of a local store cannot be created or written.
    return (MlflowException, requests.RequestException, SQLAlchemyError, OSError)


def error_for(error: BaseException) -> type[ServiceUnavailable | TrackingError]:
    """Return ServiceUnavailable for an error of the network or of a busy server, else TrackingError.

    MLflow raises one exception for all of them; the difference is in what caused it.
    """
    return ServiceUnavailable if is_temporary(error, in_file=database_of(address()) is not None) else TrackingError


def is_temporary(error: BaseException, *, in_file: bool) -> bool:
    """Return whether an error is one of the network or of a busy or restarting server, to judge by what caused it.

    Args:
        error: What a store raised.
        in_file: Whether the store is a file of SQLite.
    """
    import requests
    from sqlalchemy.exc import OperationalError

    network = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    cause: BaseException | None = error
    while cause is not None:
        status = getattr(getattr(cause, "response", None), "status_code", None) or 0
        if isinstance(cause, (*network, requests.exceptions.RetryError, ConnectionError, TimeoutError)):
            return True
        if status in (408, 429) or status >= 500:
            return True
        # Of SQLite, this is a file that cannot be used; a server that answers says what it refuses.
        if isinstance(cause, OperationalError) and not in_file and ("FATAL" not in str(cause) or _PASSING(str(cause))):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def one_line(error: Exception) -> str:
    """Return the message of an error as one line of at most 1,000 characters; MLflow's end with what to do."""
    return " ".join(str(error).split())[:1000]


def experiment_id(client: Any, name: str) -> str:
    """Return the id of MLflow's experiment of this name, which is created if it does not exist."""
    found = client.get_experiment_by_name(name)
    if found is None:
        database = database_of(os.environ["MLFLOW_TRACKING_URI"])
        location = (artifacts_of(database) / name).as_uri() if database else None
        # Without this tag, MLflow's pages open in their view for language models.
        tags = {"mlflow.experimentKind": "custom_model_development"}
        with tolerating_existing():
            client.create_experiment(name, artifact_location=location, tags=tags)
        found = client.get_experiment_by_name(name)
    return str(found.experiment_id)


@contextlib.contextmanager
def tolerating_existing() -> Iterator[None]:
    """Create something that did not exist a moment ago; another stage may have created it since."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def run_exists(client: Any, run_id: str) -> bool:
    """Return whether the store has a run that was not deleted."""
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
