"""Runs a command, and ends it with all that it started once whoever asked for it is gone.

    python -I -S watcher.py COMMAND [ARGUMENT …]

Standard input is a pipe that the flow holds open and never writes to. Its end means that the flow is gone, be it by
`kill -9`, which leaves a flow no moment to stop what it started. This file leads the command's process group and
imports nothing of the project: it starts in hundredths of a second.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time

GRACE_SECONDS = 5.0
"""Between asking the group to stop, making it, and killing it; as in `pipelines.processes`."""


def main(command: list[str]) -> int:
    """Runs the command to its end.

    Returns:
        Its exit status; where a signal ended it, this process ends by the same one.
    """
    # The group's signals are for the command. They are caught, not ignored: what is ignored stays so in the command.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    watch = threading.Thread(target=_watch, args=(child,), daemon=True)
    watch.start()
    status = child.wait()
    # Nobody writes into the pipe: what can be read is its end. The command is done then, but perhaps not its children.
    if select.select([0], [], [], 0)[0]:
        watch.join()
    if status < 0:
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def _watch(child: subprocess.Popen[bytes]) -> None:
    """Waits for the end of standard input, then ends the group, this process with it."""
    while os.read(0, 1024):
        pass
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(0, number)
        deadline = time.monotonic() + GRACE_SECONDS
        while child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
