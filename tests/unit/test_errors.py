"""Which errors may pass by themselves: those of the network, and no others."""

import socket

import psycopg
import pytest
import requests
from sqlalchemy.exc import OperationalError

from unroll.errors import BundleError, DataError, SourceAwayError, SourceError, TrackingError, UnrollError, is_passing


def caused(error: BaseException, cause: BaseException) -> BaseException:
    try:
        raise error from cause
    except type(error) as raised:
        return raised


def answered(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError("answered", response=response)


def refused(text: str, state: str | None = None) -> psycopg.OperationalError:
    kind = psycopg.errors.lookup(state) if state else psycopg.OperationalError
    error = kind(text)
    assert isinstance(error, psycopg.OperationalError)
    return error


@pytest.mark.parametrize(
    "cause",
    [
        requests.ConnectionError("refused"),
        requests.exceptions.ReadTimeout("slow"),
        requests.exceptions.RetryError("too many 500 error responses"),
        answered(500),
        answered(503),
        answered(429),
        ConnectionResetError("reset"),
        TimeoutError("slow"),
        socket.gaierror("no such host"),
        refused("connection failed: Connection refused"),
        refused("the database system is shutting down", "57P01"),
        caused(OperationalError("SELECT 1", {}, Exception()), refused("server closed the connection unexpectedly")),
    ],
    ids=lambda cause: f"{type(cause).__name__}: {cause}"[:60],
)
def test_the_networks_faults_may_pass(cause: BaseException) -> None:
    assert is_passing(cause) or is_passing(caused(UnrollError("first"), cause))
    assert is_passing(caused(TrackingError("second"), caused(UnrollError("first"), cause)))


@pytest.mark.parametrize(
    "error",
    [
        UnrollError("said"),
        BundleError("altered"),
        SourceError("another SHA-256"),
        caused(DataError("cut short"), EOFError("end")),
        caused(UnrollError("no such file"), FileNotFoundError("x")),
        caused(UnrollError("disk"), OSError(28, "No space left on device")),
        caused(TrackingError("no such model"), answered(404)),
        caused(TrackingError("not allowed"), answered(403)),
        caused(UnrollError("ledger"), refused('password authentication failed for user "unroll"')),
        caused(UnrollError("ledger"), refused('database "unroll_ledger" does not exist')),
        caused(UnrollError("ledger"), refused("disk full", "53100")),
        requests.exceptions.InvalidURL("no address"),
        KeyError("x"),
    ],
    ids=lambda error: f"{type(error).__name__}: {error}"[:60],
)
def test_what_would_fail_again_alike_does_not(error: BaseException) -> None:
    assert not is_passing(error)


def test_a_server_that_never_answered_may_later() -> None:
    assert is_passing(SourceAwayError("4 attempts"))


def test_what_was_hidden_on_purpose_does_not_count() -> None:
    def stop() -> None:
        try:
            raise ConnectionError("refused")
        except ConnectionError:
            raise UnrollError("params.yaml is wrong") from None

    with pytest.raises(UnrollError) as raised:
        stop()
    assert not is_passing(raised.value)
