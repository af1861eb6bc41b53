"""What fsspec and its clients raise, as errors of unroll."""

import contextlib
import errno
from collections.abc import Iterator

from unroll.errors import ServiceUnavailable, UnrollError


@contextlib.contextmanager
def translated(place: str, local: bool) -> Iterator[None]:
    """Turn what fsspec and its clients raise into errors of unroll; FileNotFoundError passes through.

    Args:
        place: Address that the messages name.
        local: Whether it is on this machine.
    """
    away, refused = _client_errors(local)
    try:
        yield
    except (FileNotFoundError, UnrollError):
        raise
    except away as error:
        raise ServiceUnavailable(
            f"{place} cannot be reached: {_one_line(error)}; start the server, correct its address "
            "(AWS_ENDPOINT_URL for one that is not Amazon's), or run again later"
        ) from error
    except refused as error:
        if not local and getattr(error, "errno", None) in (errno.EBUSY, errno.EREMOTEIO):
            # How s3fs translates the answers 500 and 503.
            raise ServiceUnavailable(f"{place} is not available: {_one_line(error)}; run again later") from error
        raise UnrollError(
            f"{place} cannot be read or written: {_one_line(error)}; fix this and run again; finished files stay"
        ) from error


def _client_errors(local: bool) -> tuple[tuple[type[Exception], ...], tuple[type[Exception], ...]]:
    """Return what fsspec's clients raise if a server is unavailable, and if it refuses."""
    if not local:
        with contextlib.suppress(ImportError):
            from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
            from botocore.exceptions import ConnectionError as BotoConnectionError

            away = (ConnectionError, TimeoutError, HTTPClientError, BotoConnectionError)
            return away, (OSError, BotoCoreError, ClientError)
    return (ConnectionError, TimeoutError), (OSError,)


def _one_line(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()) or type(error).__name__
