"""Every error that unroll raises on purpose.

    UnrollError
    ├── ParameterError        params.yaml or an option says something that cannot be used
    ├── DataError             data that is there, but not as it should be
    │   ├── SourceError       bytes that could not be fetched, or are not the promised ones
    │   │   └── SourceAwayError   their server did not answer: it may later
    │   ├── FormatError       a file that is not what its name or its source says
    │   ├── ExpectationError  data that fails its expectations
    │   └── SplitError        a split that is empty, leaks, or cannot be made
    ├── TrainingError         a run that cannot go on (loss not finite, checkpoint that does not fit)
    ├── ExportError           ONNX and torch disagree, or a module cannot be exported
    ├── BundleError           a bundle that is incomplete, altered, or of another format
    ├── ServiceUnavailable    a server did not answer; the same command may succeed later
    ├── TrackingError         the MLflow store cannot be used
    │   └── VersionError      a registered version that cannot be used, although the store answers
    └── (pipelines)           DvcError, StageError, GatesError, TrainingFlowError: what a flow started failed

A message says what was found, what was expected, in which file, row or key, and what to do.
`unroll.cli` prints it as one line and exits 2, or 75 where `is_passing`; any other exception keeps its traceback and
exits 1.
"""

import socket

from unroll.redaction import redacted

PASSING_EXIT = 75
"""Exit code where the same command may succeed later (EX_TEMPFAIL of sysexits.h)."""

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
    """Base of every error that unroll raises on purpose. Its text holds no password, whatever it was made of."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(redacted(one) if isinstance(one, str) else one for one in args))


class ParameterError(UnrollError):
    """A parameter or an option that cannot be used."""


class DataError(UnrollError):
    """Data that is there, but not as it should be."""


class SourceError(DataError):
    """Bytes that could not be fetched, or are not the promised ones."""


class SourceAwayError(SourceError):
    """A server that did not answer, or not whole, in all attempts; it may do so later."""


class FormatError(DataError):
    """A file that is not what its name or its source says."""


class ExpectationError(DataError):
    """Data that fails its expectations."""


class SplitError(DataError):
    """A split that is empty, leaks, or cannot be made."""


class TrainingError(UnrollError):
    """A training run that cannot go on."""


class ExportError(UnrollError):
    """A model that cannot be exported, or whose export disagrees with it."""


class BundleError(UnrollError):
    """A bundle that is incomplete, altered, or of another format."""


class ServiceUnavailable(UnrollError):  # noqa: N818 -- as HTTP names it
    """A server that did not answer, or not whole, in all attempts; the same command may succeed later."""


class TrackingError(UnrollError):
    """An MLflow store that cannot be used."""


class VersionError(TrackingError):
    """A registered version that cannot be used, although the store answers: its files are gone or others."""


def is_passing(error: BaseException) -> bool:
    """Whether the network or a server is at fault, so that the same call may succeed later.

    Looks at the error and at what caused it. What the data, the parameters or the code are at fault for is not passing:
    it would fail again, and alike.
    """
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        if isinstance(one, ServiceUnavailable | SourceAwayError | ConnectionError | TimeoutError | socket.gaierror):
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
