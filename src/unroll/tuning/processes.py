"""Processes side by side. Networks of this size gain more from two processes than from two threads of one."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from unroll.errors import TrainingError, UnrollError

_POLL_SECONDS = 1.0


def run_side_by_side(target: Callable[..., None], calls: Sequence[tuple[Any, ...]], watch: Callable[[], None]) -> None:
    """Call a function in a process for each tuple of arguments, until all have returned.

    Args:
        target: A function of a module.
        calls: Arguments of each process.
        watch: Called now and then, and after each process that ended.

    Raises:
        UnrollError: What a process raised, or a TrainingError if one was killed; the others are ended then.
    """
    # Not forked: torch has threads, which a forked process would lack.
    context = multiprocessing.get_context("spawn")
    running = []
    try:
        for arguments in calls:
            receiver, sender = context.Pipe(duplex=False)
            child = context.Process(target=_run, args=(sender, target, arguments), daemon=True)
            child.start()
            sender.close()
            running.append((child, receiver))
        while running:
            wait([child.sentinel for child, _ in running], timeout=_POLL_SECONDS)
            watch()
            for child, receiver in [one for one in running if not one[0].is_alive()]:
                running.remove((child, receiver))
                _raise_error(child.exitcode, receiver)
        watch()
    finally:
        for child, _ in running:
            child.kill()
            child.join()


def exit_without_parent() -> None:
    """End this process if the one that started it was killed: a continuation would train the same again."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(1)


def _run(sender: Connection, target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    # Ctrl-C reaches all processes of a terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        target(*arguments)
    except UnrollError as error:
        sender.send(error)


def _raise_error(code: int | None, receiver: Connection) -> None:
    try:
        raise receiver.recv()
    except EOFError:
        pass
    if code and code < 0:
        raise TrainingError(
            f"a process was killed ({signal.Signals(-code).name}; out of memory?). What it did is kept: go on with "
            "--resume, perhaps with fewer --jobs"
        )
    if code:
        raise RuntimeError(f"a process ended with exit code {code}; its traceback is above")
