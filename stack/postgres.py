"""PostgreSQL: Debian's programs on a cluster of the stack's own, or a server of yours."""

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

import psycopg
from psycopg import sql

from stack.state import DATABASES, HOST, USER, StackError, State

_FALLBACK_USERS = ("postgres", "nobody")
"""Whom PostgreSQL runs as where the stack is started by root, whom it refuses."""


def programs() -> Path:
    """The folder of `postgres` and `initdb`: Debian's, the newest of them, or that of PATH.

    Raises:
        StackError: PostgreSQL is not installed.
    """
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: _version(path.parts[-3]))
    found = debian[-1] if debian else shutil.which("postgres")
    if found is None:
        raise StackError(
            "PostgreSQL is not installed: `apt-get install postgresql` on Debian, or name a running server with "
            "UNROLL_POSTGRES_URL=postgresql://USER:PASSWORD@HOST:PORT/postgres"
        )
    return Path(found).parent


def user() -> str | None:
    """The user to run PostgreSQL as; None for whoever runs this."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    for name in _FALLBACK_USERS:
        if name in names:
            return name
    raise StackError("PostgreSQL does not run as root, and there is no user postgres or nobody: start as another user")


def prepare(state: State) -> list[str]:
    """Makes the cluster where there is none, and gives the command that serves it.

    Raises:
        StackError: It cannot be made, or was made by another version of PostgreSQL.
    """
    bin_, who, cluster = programs(), user(), state.folder / "postgres"
    if who is not None:
        _check_reach(state.folder, who)
    if not (cluster / "PG_VERSION").exists():
        shutil.rmtree(cluster, ignore_errors=True)  # what a killed start has left
        _make_cluster(bin_, state, cluster, who)
    made_by = (cluster / "PG_VERSION").read_text(encoding="utf-8").strip()
    done = subprocess.run([bin_ / "postgres", "--version"], capture_output=True, text=True, check=True)
    version = re.search(r"(\d+)", done.stdout)
    if version is None or version[1] != made_by:
        raise StackError(
            f"{cluster} was made by PostgreSQL {made_by}, and {bin_} has {done.stdout.strip()}: "
            "move it as docs/stack.md says under Upgrade"
        )
    options = {"listen_addresses": HOST, "port": state.ports["postgres"], "unix_socket_directories": ""}
    return [
        str(bin_ / "postgres"), "-D", str(cluster), *(f"--{name}={value}" for name, value in options.items())
    ]  # fmt: skip


def is_up(state: State) -> bool:
    """Whether the server takes connections."""
    try:
        with _connection(state):
            return True
    except psycopg.OperationalError:
        return False


def make_databases(state: State) -> None:
    """Makes the databases that are missing.

    Raises:
        StackError: The server refuses.
    """
    try:
        with _connection(state) as connection:
            there = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
            for name in DATABASES.values():
                if name not in there:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise StackError(f"PostgreSQL cannot be used: {' '.join(str(error).split())}") from None


def _connection(state: State) -> "psycopg.Connection[tuple[object, ...]]":
    url = state.external
    return psycopg.connect(
        host=url.host if url else HOST,
        port=url.port if url else state.ports["postgres"],
        user=url.username if url else USER,
        dbname=(url.database if url else None) or "postgres",
        passfile=str(state.pgpass),
        connect_timeout=5,
        autocommit=True,
    )


def _make_cluster(bin_: Path, state: State, cluster: Path, who: str | None) -> None:
    # initdb takes the password from a file alone; as another user it has to be that user's.
    password = state.folder / ".initdb-password"
    password.touch(mode=0o600)
    try:
        password.write_text(state.postgres_password(), encoding="utf-8")
        cluster.mkdir(mode=0o700)
        if who is not None:
            for path in (password, cluster):
                shutil.chown(path, who)
        command = [str(bin_ / "initdb"), "--pgdata", str(cluster), "--username", USER, "--pwfile", str(password)]
        command += ["--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"]
        done = subprocess.run(
            command,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            user=who,
            extra_groups=None if who is None else [],
        )
    finally:
        password.unlink()
    if done.returncode != 0:
        shutil.rmtree(cluster, ignore_errors=True)
        raise StackError(f"initdb could not make {cluster}:\n{done.stderr.strip() or done.stdout.strip()}")


def _check_reach(folder: Path, who: str) -> None:
    """Raises StackError where the user cannot enter the folder: a home of mode 700 above it, say."""
    done = subprocess.run(["test", "-x", str(folder)], user=who, extra_groups=[], cwd="/", check=False)  # noqa: S607 -- that of PATH
    if done.returncode != 0:
        raise StackError(
            f"PostgreSQL does not run as root, and the user {who} cannot enter {folder}: start as another user, "
            "or keep its state elsewhere: `make stack STACK='--state FOLDER'`"
        )


def _version(name: str) -> int:
    return int(name) if name.isdigit() else 0
