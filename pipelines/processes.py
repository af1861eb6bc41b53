"""Child processes of which nothing is left when the flow ends, however it ends.

An error, an interrupt, a timeout and a cancelled run reach `Children.stop` through the flow's own `finally`. `kill -9`
reaches nothing: therefore each child is led by `pipelines.watcher`, which sees the flow's end of a pipe close.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

GRACE_SECONDS = 5.0
"""Between asking a process to stop, making it, and killing it."""

_WATCHER = [sys.executable, "-I", "-S", str(Path(__file__).with_name("watcher.py"))]


class Children:
    """The child processes of one flow run. Each has a process group of its own and is stopped with all of it."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self.stopped = False

    @contextlib.contextmanager
    def start(self, command: list[str]) -> Iterator[subprocess.Popen[str]]:
        """Starts a process, with pipes for its output; nothing of its group is left when the block ends.

        Raises:
            InterruptedError: `stop` was called before.
        """
        with self._lock:
            if self.stopped:
                raise InterruptedError(f"the flow has been stopped; not started: {' '.join(command)}")
            child = subprocess.Popen(
                [*_WATCHER, *command],
                # Open for as long as this process lives: the watcher waits for its end.
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                env=environment(),
                start_new_session=True,
            )
            self._running.add(child)
        try:
            yield child
        finally:
            _stop([child])
            with self._lock:
                self._running.discard(child)
            for pipe in (child.stdin, child.stdout, child.stderr):
                if pipe:
                    pipe.close()

    def stop(self) -> None:
        """Stops all that run; what a thread is just about to start is not started."""
        with self._lock:
            self.stopped = True
            running = list(self._running)
        _stop(running)


def environment() -> dict[str, str]:
    """For DVC's processes: they find this Python's programs, and what they print comes at once."""
    programs = str(Path(sys.executable).parent)
    path = os.pathsep.join([programs, os.environ.get("PATH", os.defpath)])
    return os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}


def _stop(children: list[subprocess.Popen[str]]) -> None:
    """Asks process groups to stop, then makes them, then kills what is left."""
    # An interrupt lets DVC give back what it has locked; a program started in a shell's background ignores it.
    for number in (signal.SIGINT, signal.SIGTERM):
        alive = [child for child in children if child.poll() is None]
        for child in alive:
            _signal_group(child, number)
        deadline = time.monotonic() + GRACE_SECONDS
        for child in alive:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, deadline - time.monotonic()))
    for child in children:
        # The leader may be gone while something that it started is not.
        _signal_group(child, signal.SIGKILL)
        child.wait()


def _signal_group(child: subprocess.Popen[str], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)
