"""The database that a ledger is kept in, and the lock of an inbox: SQLite in a file, or PostgreSQL."""

import hashlib
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sql
from filelock import FileLock, Timeout
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from unroll.errors import UnrollError
from unroll.redaction import redacted

_RETRY_SECONDS = 0.5
_Result = TypeVar("_Result")


class Database:
    """One connection, which holds the lock of one inbox while it is open.

    Args:
        url: Of SQLAlchemy: `sqlite:///FILE` or `postgresql://…`.
        inbox: Address of the input.
        lock_seconds: How long to wait for another job to end.
        away_seconds: How long to wait for a server that went away.

    Attributes:
        inbox: The same.
        key: Tells this inbox in this database from others.

    Raises:
        UnrollError: The URL cannot be used.
    """

    def __init__(self, url: str, inbox: str, lock_seconds: float = 600.0, away_seconds: float = 60.0) -> None:
        try:
            self._url = sql.make_url(url)
        except SQLAlchemyError:
            raise UnrollError("the ledger's URL cannot be read; expected sqlite:///FILE or postgresql://…") from None
        if self._url.drivername in ("postgresql", "postgres"):
            self._url = self._url.set(drivername="postgresql+psycopg")
        self._is_sqlite = self._url.get_backend_name() == "sqlite"
        if not self._is_sqlite and self._url.get_backend_name() != "postgresql":
            raise UnrollError(f"the ledger {self.name} is neither SQLite nor PostgreSQL")
        if self._is_sqlite and not self._url.database:
            raise UnrollError(f"the ledger {self.name} names no file; expected sqlite:///FILE")
        self.inbox = inbox
        self.key = hashlib.sha256(f"{self.name} {inbox}".encode()).hexdigest()[:8]
        self._lock_seconds, self._away_seconds = lock_seconds, away_seconds
        digest = hashlib.sha256(f"unroll {inbox}".encode()).digest()
        self._lock_key, self._lock_name = int.from_bytes(digest[:8], signed=True), digest.hex()[:8]
        self._stack = ExitStack()
        self._connection: sql.Connection | None = None
        self._was_open = False

    @property
    def name(self) -> str:
        """As messages have it, without a password."""
        return redacted(self._url.render_as_string(hide_password=True))

    def open(self) -> None:
        """Connects and takes the lock.

        Raises:
            UnrollError: The database cannot be opened, or another job holds the lock.
        """
        try:
            if self._is_sqlite:
                self._lock_file()
            self._engine = self._made_engine()
            self.run(lambda _: None)
        except BaseException:
            self.close()
            raise
        self._was_open = True

    def close(self) -> None:
        """Gives the lock back."""
        self._disconnect()
        self._stack.close()

    def run(self, work: Callable[[sql.Connection], _Result]) -> _Result:
        """One transaction, on disk when it returns.

        Where a server went away it is waited for, the lock is taken again, and the work is done again: it must be such
        that this changes nothing, for the server may have ended it before it went.

        Raises:
            UnrollError: The database cannot be used, or the server stays away.
        """
        deadline = time.monotonic() + self._away_seconds
        while True:
            try:
                connection = self._connected()
                with connection.begin():
                    return work(connection)
            except SQLAlchemyError as error:
                away = isinstance(error, DBAPIError) and (error.connection_invalidated or self._connection is None)
                self._disconnect()
                if not (away and self._was_open) or time.monotonic() > deadline:
                    raise UnrollError(
                        f"the ledger {self.name} cannot be used: {_one_line(error)}; it says what was scored before: "
                        "free it, make room, start its server, or restore it from a copy"
                    ) from error
                time.sleep(_RETRY_SECONDS)

    def _connected(self) -> sql.Connection:
        if self._connection is None:
            connection = self._engine.connect()
            try:
                if not self._is_sqlite:
                    self._lock_server(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _made_engine(self) -> sql.Engine:
        if not self._is_sqlite:
            # What was sent to a server that vanished without a word is given up after half a minute.
            patience = {"connect_timeout": 10, "keepalives_idle": 10, "tcp_user_timeout": 30_000}
            return sql.create_engine(self._url, poolclass=NullPool, connect_args=patience)
        engine = sql.create_engine(self._url, poolclass=NullPool, connect_args={"timeout": 30})

        @sql.event.listens_for(engine, "connect")
        def _(connection: Any, _record: object) -> None:
            # Transactions are opened by hand: the driver would begin them at moments of its own choosing.
            connection.isolation_level = None
            for pragma in ("journal_mode = WAL", "synchronous = FULL"):
                connection.execute(f"PRAGMA {pragma}")

        @sql.event.listens_for(engine, "begin")
        def _(connection: sql.Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

        return engine

    def _lock_file(self) -> None:
        path = Path(self._url.database or "")
        lock = FileLock(f"{path}.{self._lock_name}.lock", timeout=self._lock_seconds)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stack.enter_context(lock)
        except Timeout:
            raise self._busy(lock.lock_file) from None
        except OSError as error:
            raise UnrollError(f"the ledger {self.name} cannot be used: {error.strerror}") from error

    def _lock_server(self, connection: sql.Connection) -> None:
        deadline = time.monotonic() + self._lock_seconds
        while True:
            with connection.begin():
                if connection.scalar(sql.select(sql.func.pg_try_advisory_lock(self._lock_key))):
                    return
            if time.monotonic() > deadline:
                raise self._busy(f"the lock {self._lock_key} of {self.name}")
            time.sleep(_RETRY_SECONDS)

    def _busy(self, what: str) -> UnrollError:
        return UnrollError(f"another scoring job has held {what} for {self._lock_seconds:g} s; wait for it or end it")


def _one_line(error: SQLAlchemyError) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    return " ".join(str(cause).split())
