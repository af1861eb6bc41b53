"""`python -m stack start|stop|status`: what `make stack` and `make stack-stop` call."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock, Timeout

from stack import processes
from stack.services import ORDER, ROOT, STARTS, STEPS
from stack.state import BUCKET, DATABASES, PORTS, State, open_state
from unroll.errors import UnrollError


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m stack", description=__doc__)
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, text in (
        ("start", "start what does not run, and say where it answers"),
        ("stop", "stop all of it"),
        ("status", "say what runs; exit status 3 where something does not"),
    ):
        one = verbs.add_parser(verb, help=text, description=text.capitalize())
        one.add_argument(
            "--state", type=Path, default=ROOT / ".unroll/stack", metavar="FOLDER", help="(default: .unroll/stack)"
        )
        one.add_argument(
            "--services", default=",".join(ORDER), metavar="A,B", help=f"some of them only (default: {','.join(ORDER)})"
        )
        text = "with prefect.yaml (default: this one)" if verb == "start" else argparse.SUPPRESS
        one.add_argument("--workplace", type=Path, default=ROOT, metavar="FOLDER", help=text)
        for service, port in PORTS.items():
            # Taken by the other verbs, too, so that one line of options serves all of them; there it changes nothing.
            text = f"0 for any (default: the last one, or {port})" if verb == "start" else argparse.SUPPRESS
            one.add_argument(f"--{service}-port", type=int, metavar="N", help=text)
    return top


def start(state: State, wanted: Sequence[str], workplace: Path) -> None:
    """Starts the services that do not run; if one fails, those that were started now are stopped again.

    Raises:
        StackError: One cannot be started.
    """
    state.write()
    started: list[str] = []
    try:
        for step in STEPS:
            ready = [one for one in step if one in wanted and processes.running(state, one) is None]
            started += ready
            with ThreadPoolExecutor() as pool:
                for done in [pool.submit(STARTS[one], state, workplace) for one in ready]:
                    done.result()
    except BaseException:
        stop(state, started)
        raise
    for one in wanted:
        if one not in started:
            print(f"{one} runs already")


def stop(state: State, wanted: Sequence[str]) -> list[str]:
    """Stops services, the last that was started first; gives those that were running."""
    stopped: list[str] = []
    for step in reversed(STEPS):
        ready = [one for one in step if one in wanted]
        with ThreadPoolExecutor() as pool:
            were_running = pool.map(lambda one: processes.stop(state, one), ready)
            stopped += [one for one, ran in zip(ready, were_running, strict=True) if ran]
    return stopped


def show(state: State, wanted: Sequence[str]) -> None:
    """Says where the services answer."""
    server = state.external or f"127.0.0.1:{state.ports['postgres']}"
    lines = {
        "postgres": f"PostgreSQL  {server}   {', '.join(DATABASES.values())}",
        "s3": f"S3          {state.address('s3')}   bucket {BUCKET}",
        "mlflow": f"MLflow      {state.address('mlflow')}",
        "prefect": f"Prefect     {state.address('prefect')}",
        "worker": f"Worker      {state.log('worker')}",
    }
    for one in ORDER:
        if one in wanted:
            print(lines[one])
    print(f"\nIn each shell that is to use them:\n\n    . {_short(state.shell)}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Returns:
        Exit status: 0; 2 where a server cannot be started; 3 of `status` where one does not run; 130 interrupted.
    """
    options = parser().parse_args(arguments)
    wanted = options.services.split(",")
    unknown = [one for one in wanted if one not in ORDER]
    if unknown:
        parser().error(f"no such service: {', '.join(unknown)}; there are {', '.join(ORDER)}")
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        ports = {service: getattr(options, f"{service}_port", None) for service in PORTS}
        state = open_state(options.state, ports, os.environ.get("UNROLL_POSTGRES_URL"))
        with FileLock(state.folder / "lock", timeout=0):
            if options.verb == "start":
                start(state, wanted, options.workplace.resolve())
                show(state, wanted)
            elif options.verb == "stop":
                stopped = stop(state, wanted)
                print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")
            else:
                return _status(state, wanted)
    except Timeout:
        print(f"error: another `python -m stack` is at work in {options.state}", file=sys.stderr)
        return 2
    except UnrollError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted; what was started has been stopped.", file=sys.stderr)
        return 130
    return 0


def _status(state: State, wanted: Sequence[str]) -> int:
    missing = 0
    for one in wanted:
        process = processes.running(state, one)
        if one == "postgres" and state.external is not None:
            print(f"{one}: your server {state.external}")
            continue
        print(f"{one}: {f'runs, process {process.pid}' if process else 'does not run'}")
        missing += process is None
    return 3 if missing else 0


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    sys.exit(main())
