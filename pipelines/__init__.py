"""Prefect flows over DVC's graph and over the inbox.

They import unroll from their own tree, whichever one is installed: a git worktree or another clone has other code.
Prefect reads its settings from the environment when it is imported, so they are set here, before any flow's module
imports it. Settings that are already in the environment win.
"""

import os
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
if (_ROOT / "src/unroll").is_dir():
    sys.path.insert(0, str(_ROOT / "src"))
if "PREFECT_API_URL" not in os.environ:
    # Without a server, Prefect starts one for the run. Its database stays inside the repository.
    os.environ.setdefault("PREFECT_HOME", str(_ROOT / ".prefect"))
    # The first start creates the database, and a busy machine needs longer for that than Prefect's 20 seconds.
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
# The flows print what a reader of the terminal wants to see; Prefect's own log goes to its server.
os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
os.environ.setdefault("DO_NOT_TRACK", "1")
