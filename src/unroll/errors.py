"""Every error that unroll raises on purpose.

    UnrollError
    ├── ParameterError        params.yaml or an option has a value that cannot be used
    ├── DataError             data is not as it should be
    │   ├── SourceError       the bytes of a source are missing or not the expected ones
    │   ├── FormatError       a file is not what its name or its source says
    │   ├── ExpectationError  a dataset fails its expectations
    │   └── SplitError        a split is empty, leaks, or cannot be made
    ├── TrainingError         a training cannot continue (loss not finite, checkpoint of another network)
    ├── ExportError           ONNX and torch disagree, or a module cannot be exported
    ├── BundleError           a bundle is incomplete, altered, or of another format
    ├── TrackingError         the MLflow store cannot be used
    │   └── VersionError      a registered version cannot be used: its files are missing or were altered
    └── ServiceUnavailable    a server does not answer; the same command may succeed later

ServiceUnavailable is raised where unroll meets a network: downloads of sources, object stores, MLflow, Prefect.

A message says what was found, what was expected, in which file, row or key, and what to do. The command line prints it
as one line and exits 2, or 75 for ServiceUnavailable; any other exception is a bug, keeps its traceback and exits 1.
Messages may quote addresses with passwords: `unroll.redaction` removes them where text is printed or logged.
"""

import socket

PASSING_EXIT = 75
"""Exit code of ServiceUnavailable (EX_TEMPFAIL of sysexits.h)."""

_PASSING = {
    "requests": {"ConnectionError", "ConnectTimeout", "ReadTimeout", "ChunkedEncodingError", "RetryError"},
    "urllib3": {"MaxRetryError", "NewConnectionError", "ProtocolError", "ReadTimeoutError", "ConnectTimeoutError"},
    "botocore": {"ConnectionError", "EndpointConnectionError", "ConnectionClosedError", "ConnectTimeoutError",
                 "ReadTimeoutError"},
    "aiohttp": {"ClientConnectionError", "ClientConnectorError", "ServerDisconnectedError", "ServerTimeoutError"},
    "httpx": {"ConnectError", "ConnectTimeout", "ReadError", "ReadTimeout", "RemoteProtocolError"},
}  # fmt: skip
"""Package -> names of its exceptions for a server that is away; by name, so that nothing is imported to ask."""


class UnrollError(Exception):
    """Base of every error that unroll raises on purpose."""


class ParameterError(UnrollError):
    """A parameter or an option that cannot be used."""


class DataError(UnrollError):
    """Data that is not as it should be."""


class SourceError(DataError):
    """Bytes of a source that are missing or not the expected ones."""


class FormatError(DataError):
    """A file that is not what its name or its source says."""


class ExpectationError(DataError):
    """A dataset that fails its expectations."""


class SplitError(DataError):
    """A split that is empty, leaks, or cannot be made."""


class TrainingError(UnrollError):
    """A training that cannot continue."""


class ExportError(UnrollError):
    """A model that cannot be exported, or whose export disagrees with it."""


class BundleError(UnrollError):
    """A bundle that is incomplete, altered, or of another format."""


class TrackingError(UnrollError):
    """An MLflow store that cannot be used."""


class VersionError(TrackingError):
    """A registered version whose files are missing or were altered, although the store answers."""


class ServiceUnavailable(UnrollError):  # noqa: N818 -- as HTTP names it
    """A server that does not answer, or not completely, in all attempts; the same command may succeed later."""


def is_passing(error: BaseException) -> bool:
    """Whether the network or a server is at fault, so that the same call may succeed later.

    Looks at the error and at what caused it. What the data, the parameters or the code are at fault for is not passing:
    it would fail again, and alike.
    """
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        if isinstance(one, ServiceUnavailable | ConnectionError | TimeoutError | socket.gaierror):
            return True
        if any(kind.__name__ in _PASSING.get(kind.__module__.partition(".")[0], ()) for kind in type(one).__mro__):
            return True
        if _status_of(one) in (408, 429) or (_status_of(one) or 0) >= 500 or _is_postgres_away(one):
            return True
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return False


def _status_of(error: BaseException) -> int | None:
    """The HTTP status that a server answered with, where the error tells one (those of requests, httpx and MLflow)."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _is_postgres_away(error: BaseException) -> bool:
    """PostgreSQL out of reach, starting, stopping or gone in between; not one that refuses a name or a password."""
    if not type(error).__module__.startswith("psycopg") or "OperationalError" not in (
        kind.__name__ for kind in type(error).__mro__
    ):
        return False
    state = getattr(error, "sqlstate", None)
    if state is not None:
        return str(state).startswith(("08", "57P0"))
    return not any(words in str(error) for words in ("authentication failed", "does not exist", "no pg_hba.conf entry"))
