"""The scoring ledger: which file of which inbox was scored, by which model, into which output.

SQLite in a file, or PostgreSQL. A job holds a lock for its inbox from its first look to its last entry, so a claim that
it finds belongs to a job that died, and may be taken over.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self, TypeVar

import sqlalchemy as sql

from unroll.errors import UnrollError
from unroll.scoring.database import Database

State = Literal["claimed", "done", "rejected", "superseded"]

_FILES = sql.Table(
    "scored_files",
    sql.MetaData(),
    sql.Column("input", sql.Text, primary_key=True),
    sql.Column("path", sql.Text, primary_key=True),
    sql.Column("sha256", sql.String(64), primary_key=True),
    sql.Column("size", sql.BigInteger, nullable=False),
    sql.Column("stamp", sql.Text, nullable=False),
    sql.Column("state", sql.String(10), nullable=False),
    sql.Column("token", sql.String(32), nullable=False),
    sql.Column("place", sql.Text, nullable=False),
    sql.Column("output", sql.Text, nullable=False),
    sql.Column("quarantine", sql.Text, nullable=False),
    sql.Column("model_version", sql.Text, nullable=False),
    sql.Column("registered_name", sql.Text),
    sql.Column("registered_version", sql.Text),
    sql.Column("rows_in", sql.BigInteger),
    sql.Column("rows_scored", sql.BigInteger),
    sql.Column("rows_quarantined", sql.BigInteger),
    sql.Column("reason", sql.Text),
    sql.Column("moved", sql.Boolean, nullable=False, default=False),
    sql.Column("first_claimed", sql.DateTime(timezone=True), nullable=False),
    sql.Column("claimed", sql.DateTime(timezone=True), nullable=False),
    sql.Column("changed", sql.DateTime(timezone=True), nullable=False),
    sql.UniqueConstraint("place", "output"),
    sql.CheckConstraint("state IN ('claimed', 'done', 'rejected', 'superseded')"),
    sql.CheckConstraint("rows_in = rows_scored + rows_quarantined"),
)
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Entry:
    """One file of the inbox, known by its path and its content."""

    path: str
    sha256: str
    state: State
    token: str
    """Of the claim: a job that finds another one in the ledger has lost it."""
    place: str
    """Address that `output` is below."""
    output: str
    """Name of the predictions file."""
    quarantine: str
    """Address that the rows lie below that could not be scored."""
    model_version: str
    rows_in: int | None
    rows_scored: int | None
    rows_quarantined: int | None
    moved: bool
    """Of what is superseded: whether its files were moved away."""


_ENTRY = [_FILES.c[name] for name in Entry.__dataclass_fields__]


@dataclass(frozen=True)
class Claim:
    """What a job writes down before it scores a file."""

    path: str
    sha256: str
    size: int
    stamp: str
    place: str
    quarantine: str
    model_version: str
    registered: Mapping[str, str] | None


def new_token() -> str:
    """A name for one claim, which no other has."""
    return uuid.uuid4().hex


class Ledger:
    """The ledger of one inbox; a context manager that holds the inbox's lock.

    Every method is one transaction, on disk when it returns. Where PostgreSQL goes away, the call waits for it, takes
    the lock again and is repeated; repeating it changes nothing.

    Args:
        database: Where it is kept.

    Raises:
        UnrollError: The ledger cannot be opened or used, or another job holds the lock. Every method may.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._inbox = database.inbox

    def __enter__(self) -> Self:
        self._database.open()
        try:
            self._run(lambda connection: _FILES.create(connection, checkfirst=True))
            self._run(self._take_over_old)
        except BaseException:
            self._database.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def entry(self, path: str, sha256: str) -> Entry | None:
        """What is known of a file."""
        return next(iter(self._entries(_FILES.c.path == path, _FILES.c.sha256 == sha256)), None)

    def done_stamps(self) -> set[tuple[str, str]]:
        """Path and stamp (inode, size, times of change; or content tag) of every file that was scored."""
        query = sql.select(_FILES.c.path, _FILES.c.stamp).where(self._mine(), _FILES.c.state == "done")
        return self._run(lambda connection: {(path, stamp) for path, stamp in connection.execute(query)})

    def others(self, path: str, sha256: str) -> list[Entry]:
        """Entries of a path with other content whose files may still be in their places."""
        return self._entries(
            _FILES.c.path == path, _FILES.c.sha256 != sha256, _FILES.c.state.in_(["done", "claimed", "superseded"]),
            ~_FILES.c.moved,
        )  # fmt: skip

    def unfinished(self) -> list[Entry]:
        """Claims, which of a job that begins are those of jobs that died, and what is superseded but was not moved."""
        return self._entries(_FILES.c.state.in_(["claimed", "superseded"]), ~_FILES.c.moved)

    def claim(self, what: Claim, token: str, names: Callable[[str], Sequence[str]]) -> Entry:
        """Claims a file that is not done.

        Args:
            what: The file, the model and the places.
            token: New, of this claim.
            names: Gives names for the predictions, for the day of the first claim; the first that no other file has is
                taken, once and for all. Where other inboxes have them all, it is the last with this inbox's key.
        """
        row = {
            "size": what.size, "stamp": what.stamp, "state": "claimed", "token": token, "moved": False, "reason": None,
            "place": what.place, "quarantine": what.quarantine, "model_version": what.model_version,
            "registered_name": (what.registered or {}).get("name"),
            "registered_version": (what.registered or {}).get("version"),
            "rows_in": None, "rows_scored": None, "rows_quarantined": None,
        }  # fmt: skip

        def write(connection: sql.Connection) -> None:
            now = datetime.now(UTC)
            this = sql.and_(self._mine(), _FILES.c.path == what.path, _FILES.c.sha256 == what.sha256)
            known = connection.execute(sql.select(_FILES).where(this)).one_or_none()
            day = (known.first_claimed if known else now).date().isoformat()
            if known and known.place == what.place:
                output = known.output
            else:
                taken = sql.select(_FILES.c.output).where(_FILES.c.place == what.place)
                given = names(day)
                own = f"{given[-1].removesuffix('.parquet')}-{self._database.key}.parquet"
                output = next(
                    (one for one in given if not connection.execute(taken.where(_FILES.c.output == one)).first()), own
                )
            if known:
                changes = row | {"output": output, "claimed": now, "changed": now}
                connection.execute(_FILES.update().where(this).values(changes))
                return
            key = {"input": self._inbox, "path": what.path, "sha256": what.sha256, "output": output}
            times = {"first_claimed": now, "claimed": now, "changed": now}
            connection.execute(_FILES.insert().values(key | row | times))

        self._run(write)
        entry = self.entry(what.path, what.sha256)
        if entry is None or entry.token != token:
            raise self._lost(what.path)
        return entry

    def require_claim(self, entry: Entry) -> None:
        """Raises UnrollError unless the claim is still this job's."""
        now = self.entry(entry.path, entry.sha256)
        if now is None or now.token != entry.token:
            raise self._lost(entry.path)

    def restamp(self, entry: Entry, stamp: str) -> None:
        """Remembers a new stamp of a file whose content is known."""
        self._run(lambda connection: connection.execute(self._update(entry).values(stamp=stamp)))

    def supersede(self, entry: Entry) -> None:
        """Records that another content has taken this one's place; its files are still to be moved."""
        change = self._update(entry).values(state="superseded", changed=datetime.now(UTC))
        self._run(lambda connection: connection.execute(change))

    def moved(self, entry: Entry) -> None:
        """Records that the files of what is superseded were moved away."""
        self._run(lambda connection: connection.execute(self._update(entry).values(moved=True)))

    def done(
        self,
        entry: Entry,
        rows_in: int | None = None,
        rows_scored: int | None = None,
        rows_quarantined: int | None = None,
    ) -> None:
        """Records that the output is in place; for the holder of the claim alone. None: not counted."""
        counts = {"rows_in": rows_in, "rows_scored": rows_scored, "rows_quarantined": rows_quarantined}
        self._end(entry, {"state": "done", **counts})

    def rejected(self, entry: Entry, reason: str) -> None:
        """Records that the file cannot be scored; for the holder of the claim alone."""
        self._end(entry, {"state": "rejected", "reason": reason.replace("\0", "\\x00")})

    def release(self, entry: Entry) -> None:
        """Gives a claim back: the file changed while it was read, and nothing was published."""
        change = _FILES.delete().where(self._this(entry), _FILES.c.state == "claimed")
        self._run(lambda connection: connection.execute(change))

    def _end(self, entry: Entry, values: Mapping[str, Any]) -> None:
        # Where the server went away after it had done this, but before it said so, it is done once more.
        held = _FILES.c.state.in_(["claimed", values["state"]])
        change = self._update(entry).where(held).values(**values, changed=datetime.now(UTC))
        if self._run(lambda connection: connection.execute(change).rowcount) != 1:
            raise self._lost(entry.path)

    def _mine(self) -> sql.ColumnElement[bool]:
        return _FILES.c.input == self._inbox

    def _this(self, entry: Entry) -> sql.ColumnElement[bool]:
        same = (_FILES.c.path == entry.path, _FILES.c.sha256 == entry.sha256, _FILES.c.token == entry.token)
        return sql.and_(self._mine(), *same)

    def _update(self, entry: Entry) -> sql.Update:
        return _FILES.update().where(self._this(entry))

    def _entries(self, *conditions: sql.ColumnElement[bool]) -> list[Entry]:
        query = sql.select(*_ENTRY).where(self._mine(), *conditions).order_by(_FILES.c.path, _FILES.c.sha256)
        return self._run(lambda connection: [Entry(*row) for row in connection.execute(query)])

    def _lost(self, path: str) -> UnrollError:
        return UnrollError(
            f"the claim of {path} in the ledger {self._database.name} was taken over by another job; this one ends; "
            "run again"
        )

    def _run(self, work: Callable[[sql.Connection], _Result]) -> _Result:
        return self._database.run(work)

    def _take_over_old(self, connection: sql.Connection) -> None:
        """Takes over the entries of a ledger of version 0.1, which had one inbox and a flat folder of predictions."""
        there = sql.inspect(connection)
        if "files" not in there.get_table_names() or {one["name"] for one in there.get_columns("files")} >= {"input"}:
            return
        old = sql.text("SELECT name, sha256, stamp, state, model_version, output, rows, changed FROM files")
        for row in connection.execute(old).all():
            when = datetime.fromisoformat(row.changed).replace(tzinfo=UTC)
            connection.execute(
                _FILES.insert().values(
                    input=self._inbox,
                    path=row.name,
                    sha256=row.sha256,
                    size=0,
                    stamp=row.stamp,
                    state=row.state,
                    token=new_token(),
                    place="data/predictions",
                    output=row.output,
                    quarantine="data/quarantine",
                    model_version=row.model_version,
                    rows_in=None,
                    rows_scored=row.rows,
                    moved=False,
                    first_claimed=when,
                    claimed=when,
                    changed=when,
                )
            )
        connection.execute(sql.text("ALTER TABLE files RENAME TO files_of_0_1"))
