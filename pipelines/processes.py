"""Child processes that end with the flow, however it ends.

An error, an interrupt, a timeout and a cancelled run reach `Children.stop` through the flow's `finally`. `kill -9` runs
no `finally`: there, the kernel closes the flow's end of each child's standard input, and the shell that guards the
child sees it.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from unroll.redaction import redacted

# The command leads a process group. When standard input ends, the group is interrupted, which lets DVC release its
# locks, then terminated, then killed.
_GUARD = """
exec 3<&0
{
    trap '' TERM; read -r _ <&3
    kill -s INT -- -$$; sleep 5; kill -s TERM -- -$$; sleep 5; kill -s KILL -- -$$
} >/dev/null 2>&1 &
exec "$@" </dev/null 3<&-
"""
_SECONDS_TO_END = 15.0
_KEPT_LINES = 20


class Children:
    """The child processes of one flow run.

    Attributes:
        stopped: Whether `stop` was called.
    """

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self.stopped = False

    def run(self, command: list[str], report: Callable[[str], None]) -> tuple[int, list[str]]:
        """Run a command to its end, and report each line of its output as it comes, without secrets.

        Returns:
            The exit status, negative for a signal, and the last lines. No process that the command started is left.

        Raises:
            InterruptedError: `stop` was called before.
        """
        last: deque[str] = deque(maxlen=_KEPT_LINES)
        child = self._start(command)
        try:
            # Leaving the block closes standard input and waits.
            with child:
                for line in map(redacted, child.stdout or ()):
                    last.append(line.rstrip())
                    if not self.stopped:
                        report(line.rstrip())
        finally:
            _kill_group(child)
            self._running.discard(child)
        return child.returncode, list(last)

    def stop(self) -> None:
        """Stop all children. No other can be started afterwards."""
        with self._lock:
            self.stopped = True
            running = list(self._running)
        for child in running:
            if child.stdin:
                child.stdin.close()
        for child in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_SECONDS_TO_END)
            _kill_group(child)

    def _start(self, command: list[str]) -> subprocess.Popen[str]:
        with self._lock:
            if self.stopped:
                raise InterruptedError(f"the flow was stopped before it could start `{' '.join(command)}`")
            child = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                env=environment(),
                start_new_session=True,
            )
            self._running.add(child)
        return child


def environment() -> dict[str, str]:
    """Return the environment of DVC's processes: this Python's programs come first, and output is not buffered."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}


def _kill_group(child: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
