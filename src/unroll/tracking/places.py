"""Where a store in SQLite keeps artifacts: in `mlruns/` beside the database, wherever that is.

MLflow stores absolute paths. In a repository that was moved or renamed they would lead nowhere, and in a copy to the
files of the original. Whoever opens the store updates them first; for MLflow's own programs, the Makefile does it.
"""

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from unroll.errors import TrackingError

DEFAULT_STORE = "sqlite:///mlflow.db"
_FOLDER = "mlruns"
_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def database_of(uri: str) -> Path | None:
    """Return the file of a store in SQLite, None for any other store."""
    if not uri.startswith("sqlite:"):
        return None
    return Path(uri.partition("///")[2].partition("?")[0]).resolve()


def artifacts_of(database: Path) -> Path:
    """Return the folder of a database's artifacts."""
    return database.parent / _FOLDER


def update_places(database: Path) -> None:
    """Let the paths in a database that was moved or copied with its artifacts lead to where these are now.

    A folder elsewhere that someone chose for the artifacts stays: it exists, and no such database is beside it.

    Raises:
        TrackingError: The database cannot be read or written.
    """
    if not database.is_file():
        return
    try:
        with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
            old, new = _recorded(connection), artifacts_of(database)
            if old is None or old == new or (old.exists() and not (old.parent / database.name).exists()):
                return
            for table, column in _COLUMNS:
                moved = f"UPDATE {table} SET {column} = ? || substr({column}, ?)"  # noqa: S608 -- names are constants
                for before, after in ((str(old), str(new)), (old.as_uri(), new.as_uri())):
                    connection.execute(
                        f"{moved} WHERE substr({column}, 1, ?) = ?",
                        (after, len(before) + 1, len(before) + 1, f"{before}/"),
                    )
    except sqlite3.Error as error:
        raise TrackingError(f"the MLflow store at {database} cannot be used: {error}") from error


def _recorded(connection: sqlite3.Connection) -> Path | None:
    """Return the folder of artifacts as MLflow recorded it for its first experiment, when it created the tables."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
        return None
    found = connection.execute("SELECT artifact_location FROM experiments WHERE experiment_id = 0").fetchone()
    place = Path(_as_path(found[0])) if found else Path()
    return place.parent if place.is_absolute() and place.parts[-2:] == (_FOLDER, "0") else None


def _as_path(place: str) -> str:
    return url2pathname(urlsplit(place).path) if place.startswith("file:") else place


def main() -> None:
    """Update the paths of the store that MLFLOW_TRACKING_URI names, or of the one in the repository."""
    try:
        if database := database_of(os.environ.get("MLFLOW_TRACKING_URI", DEFAULT_STORE)):
            update_places(database)
    except TrackingError as failure:
        sys.exit(f"error: {failure}")
