"""The scoring ledger: which file of the inbox was scored, by which model, into which output."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

from unroll.inference.batches import Skipped

State = Literal["claimed", "done", "rejected"]

_TABLE = """
CREATE TABLE IF NOT EXISTS files (
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    stamp TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('claimed', 'done', 'rejected')),
    model_version TEXT NOT NULL,
    output TEXT NOT NULL UNIQUE,
    rows INTEGER,
    skipped TEXT,
    reason TEXT,
    set_aside INTEGER,
    changed TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (name, sha256)
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Entry:
    """One file of the inbox, known by its name and its content."""

    name: str
    sha256: str
    state: State
    model_version: str
    output: str
    """Name of the predictions file."""
    rows: int | None
    set_aside: int | None = None
    """Rows that could not be scored, while `rows` were."""


class Ledger:
    """The ledger in a SQLite file; a context manager.

    Every method is one transaction, on disk when it returns, and may raise sqlite3.Error. A state only goes
    from claimed to done or rejected; a claim of a dead process is taken over, with the output's name that it had.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Transactions are opened by hand: the default would commit at moments of its own choosing.
        self._connection = sqlite3.connect(path, timeout=30, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(_TABLE)
        columns = {row[1] for row in self._connection.execute("PRAGMA table_info(files)")}
        if "set_aside" not in columns:  # made before rows could be
            self._connection.execute("ALTER TABLE files ADD COLUMN set_aside INTEGER")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def entry(self, name: str, sha256: str) -> Entry | None:
        """What is known of a file."""
        row = self._connection.execute(
            "SELECT name, sha256, state, model_version, output, rows, set_aside FROM files "
            "WHERE name = ? AND sha256 = ?",
            (name, sha256),
        ).fetchone()
        return Entry(*row) if row else None

    def is_done(self, name: str, stamp: str) -> bool:
        """Whether the file with this very stamp (inode, size, times of change) was scored: it need not be hashed."""
        query = "SELECT 1 FROM files WHERE name = ? AND stamp = ? AND state = 'done'"
        return self._connection.execute(query, (name, stamp)).fetchone() is not None

    def claim(self, name: str, sha256: str, stamp: str, model_version: str, outputs: Sequence[str]) -> Entry:
        """Claims a file that is not done.

        Args:
            name: The file's.
            sha256: Of its content.
            stamp: What `is_done` may know it by.
            model_version: Of the model that will score it.
            outputs: Names for its predictions; the first that no other file has is taken, once and for all.
        """
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            known = self.entry(name, sha256)
            if known:
                self._connection.execute(
                    "UPDATE files SET state = 'claimed', model_version = ?, stamp = ?, reason = NULL, "
                    "changed = CURRENT_TIMESTAMP WHERE name = ? AND sha256 = ?",
                    (model_version, stamp, name, sha256),
                )
                output = known.output
            else:
                query = "SELECT 1 FROM files WHERE output = ?"
                output = next(one for one in outputs if not self._connection.execute(query, (one,)).fetchone())
                self._connection.execute(
                    "INSERT INTO files (name, sha256, stamp, state, model_version, output) "
                    "VALUES (?, ?, ?, 'claimed', ?, ?)",
                    (name, sha256, stamp, model_version, output),
                )
        return Entry(name, sha256, "claimed", model_version, output, None)

    def restamp(self, entry: Entry, stamp: str) -> None:
        """Remembers a new stamp of a file whose content is known."""
        self._connection.execute(
            "UPDATE files SET stamp = ? WHERE name = ? AND sha256 = ?", (stamp, entry.name, entry.sha256)
        )

    def done(self, entry: Entry, rows: int, skipped: Sequence[Skipped], set_aside: int = 0) -> None:
        """Records that the output is in place, and that of the rows set aside."""
        parts = json.dumps([asdict(one) for one in skipped])
        self._connection.execute(
            "UPDATE files SET state = 'done', rows = ?, skipped = ?, set_aside = ?, changed = CURRENT_TIMESTAMP "
            "WHERE name = ? AND sha256 = ?",
            (rows, parts, set_aside, entry.name, entry.sha256),
        )

    def rejected(self, entry: Entry, reason: str) -> None:
        """Records that the file cannot be scored."""
        self._connection.execute(
            "UPDATE files SET state = 'rejected', reason = ?, changed = CURRENT_TIMESTAMP "
            "WHERE name = ? AND sha256 = ?",
            (reason, entry.name, entry.sha256),
        )

    def release(self, entry: Entry) -> None:
        """Gives a claim back: the file changed while it was read, and nothing was written."""
        self._connection.execute(
            "DELETE FROM files WHERE name = ? AND sha256 = ? AND state = 'claimed'", (entry.name, entry.sha256)
        )
