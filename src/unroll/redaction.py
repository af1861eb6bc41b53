"""Text that leaves the process (print, log, MLflow): without secrets, and without control characters."""

import os
import re
import sys
import unicodedata

SECRETS = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "PGPASSWORD",
    "PREFECT_API_AUTH_STRING",
    "PREFECT_API_KEY",
    "UNROLL_ALERT_URL",
)
"""Environment variables whose values are secrets."""

_PASSWORD = re.compile(r"(//[^/\s:@?#]*:)(?!\d+(?:[/?#]|$))\S*@")
"""The password of an address; it may contain a `/` or an `@` that should have been escaped."""
_TOKEN = re.compile(r"(//)[^/\s:@?#]+@")
"""A token in place of user and password."""
_QUERY = re.compile(
    r"(?<=[?&;])([\w.-]*(?:password|passwd|pwd|secret|token|signature|credential|api[-_.]?key|access[-_.]?key\w*|sig))="
    r"[^&;\s#'\"]+",
    re.IGNORECASE,
)
_MIN_LENGTH = 6
"""Length from which a secret of the environment is replaced wherever it occurs."""


def escape_what_the_terminal_lacks() -> None:
    """Write characters that the encoding of standard output or error lacks as `\\xNN` or `\\uNNNN`, not as a traceback.

    Lines are written at once: a program whose output goes to a log file must not hold them back.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]


def redacted(text: str) -> str:
    """Replace passwords and signed queries of addresses, and secrets of the environment, by `***`.

    Example: `postgresql://u:p@db/x?sslpassword=y` becomes `postgresql://u:***@db/x?sslpassword=***`.
    """
    if "//" in text:
        text = _QUERY.sub(r"\1=***", _TOKEN.sub(r"\1***@", _PASSWORD.sub(r"\1***@", text)))
    for name in SECRETS:
        value = os.environ.get(name, "")
        if len(value) >= _MIN_LENGTH:
            text = text.replace(value, "***")
    return text


def printable(text: str) -> str:
    """Replace control characters by `\\xNN`, and bytes of file names that are not UTF-8 by `\\udcNN`.

    Line ends stay; print a name that may have some with `repr`.
    """
    return "".join(
        ascii(one)[1:-1] if one != "\n" and unicodedata.category(one) in ("Cc", "Cs", "Cf") else one for one in text
    )
