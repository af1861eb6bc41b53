"""Prefect flows over DVC's graph and over the inbox.

Prefect reads its settings from the environment when it is imported, so they are settled here, before a flow's module
imports it. Whatever the user has set stays as it is.
"""

import os
from pathlib import Path


def _settle() -> None:
    if "PREFECT_API_URL" not in os.environ:
        # No server was named: Prefect starts one of its own for the run, with its database inside the repository.
        os.environ.setdefault("PREFECT_HOME", str(Path(__file__).resolve().parent.parent / ".prefect"))
        # The first start makes the database, and a busy machine needs longer for it than Prefect's 20 seconds.
        os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
        os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    # A flow prints what people want to see; what Prefect has to say goes to its server.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("DO_NOT_TRACK", "1")


_settle()
