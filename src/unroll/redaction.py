"""What is told to people and to servers: without passwords, without what a terminal would obey."""

import os
import re
import unicodedata

SECRETS = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "PGPASSWORD",
    "PREFECT_API_AUTH_STRING",
    "PREFECT_API_KEY",
)
"""Environment variables whose values are never told."""

_PASSWORD = re.compile(r"(//[^/\s:@?#]*:)(?!\d+(?:[/?#]|$))\S*@")
"""Of an address, after its user; also where it has a `/` or an `@` that should have been escaped."""
_TOKEN = re.compile(r"(//)[^/\s:@?#]+@")
"""In place of a user."""
_QUERY = re.compile(
    r"(?<=[?&;])([\w.-]*(?:password|passwd|pwd|secret|token|signature|credential|api[-_.]?key|access[-_.]?key\w*|sig))="
    r"[^&;\s#'\"]+",
    re.IGNORECASE,
)
_SHORTEST = 6
"""Characters from which on a secret is looked for anywhere in a text."""


def redacted(text: str) -> str:
    """A text without the passwords of addresses in it, signed queries, and secrets of the environment.

    Worked example: `postgresql://u:p@db/x?sslpassword=y` becomes `postgresql://u:***@db/x?sslpassword=***`.
    """
    if "//" in text:
        text = _QUERY.sub(r"\1=***", _TOKEN.sub(r"\1***@", _PASSWORD.sub(r"\1***@", text)))
    for name in SECRETS:
        value = os.environ.get(name, "")
        if len(value) >= _SHORTEST:
            text = text.replace(value, "***")
    return text


def printable(text: str) -> str:
    """A text for a terminal or a log: control characters become `\\xNN`, bytes of names that are no UTF-8 `\\udcNN`.

    Line ends stay; a name that has some is to be told by `repr`.
    """
    return "".join(
        ascii(one)[1:-1] if one != "\n" and unicodedata.category(one) in ("Cc", "Cs", "Cf") else one for one in text
    )
