"""Servers as processes of their own, which outlive the command that started them, and are known by pid files."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from stack.state import StackError, State
from unroll.files import read_json, write_json

STOP_SECONDS = 30.0
"""A server is given so long to end by itself; then it is killed."""


def running(state: State, service: str) -> psutil.Process | None:
    """The process of a service, if it lives."""
    path = state.pid(service)
    try:
        note = read_json(path)
        process = psutil.Process(note["pid"])
        # A number is given out again, after a restart of the machine most of all.
        same = abs(process.create_time() - note["started"]) < 1.0
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (FileNotFoundError, psutil.NoSuchProcess):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise StackError(f"{path} is damaged ({error}); look whether {service} still runs, and delete it") from None


def start(
    state: State,
    service: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    user: str | None = None,
) -> psutil.Process:
    """Starts a server in a session of its own; what it says goes into its log.

    Args:
        state: Where log and pid file are.
        service: Its name.
        command: Program and arguments. No secret belongs into it: every user of the machine can read it.
        environment: All of it.
        folder: To run in.
        user: To run as; by default that of this process.
    """
    log = state.log(service)
    if log.exists():
        log.replace(log.with_suffix(".old.log"))
    with log.open("wb") as output:
        child = subprocess.Popen(
            list(command),
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user,
            extra_groups=None if user is None else [],
        )
    process = psutil.Process(child.pid)
    write_json(state.pid(service), {"pid": child.pid, "started": process.create_time()})
    return process


def wait_until(state: State, service: str, is_up: Callable[[], bool], seconds: float = 120.0) -> None:
    """Waits until a service answers.

    Raises:
        StackError: It ended, or does not answer in time; the message has the end of its log.
    """
    deadline = time.monotonic() + seconds
    while not is_up():
        alive = running(state, service) is not None
        if not alive or time.monotonic() > deadline:
            what = f"did not answer within {seconds:.0f} s" if alive else "ended while it started"
            raise StackError(f"{service} {what}; {state.log(service)} ends with:\n{_end_of(state.log(service))}")
        time.sleep(0.2)


def stop(state: State, service: str) -> bool:
    """Stops a service with all that it started.

    Returns:
        Whether it was running.
    """
    process = running(state, service)
    if process is None:
        state.pid(service).unlink(missing_ok=True)
        return False
    # PostgreSQL waits for its clients on SIGTERM, and does not on SIGINT.
    _signal([process], signal.SIGINT if service == "postgres" else signal.SIGTERM)
    # What is left was not told, or did not listen: a worker's flows lead sessions of their own.
    left = _wait([process], STOP_SECONDS)
    _signal(left, signal.SIGTERM)
    left = _wait(left, STOP_SECONDS / 2)
    _signal(left, signal.SIGKILL)
    _wait(left, 5.0)
    state.pid(service).unlink(missing_ok=True)
    return True


def _with_children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return [process]


def _signal(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _wait(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Waits until all have ended, or for so long; gives those that are left, and what any of them has started."""
    deadline = time.monotonic() + seconds
    # Looked for again and again: a worker may start a flow while it is told to end, and ends before that.
    seen = set(processes)
    while True:
        seen.update(child for one in list(seen) for child in _with_children(one))
        if time.monotonic() >= deadline or not any(_lives(one) for one in processes):
            return [one for one in seen if _lives(one)]
        time.sleep(0.1)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _end_of(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return "\n".join(f"    {line}" for line in lines[-15:]) or "    (nothing)"
