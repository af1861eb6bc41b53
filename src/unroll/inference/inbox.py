"""Scores what is new in the inbox, each file exactly once.

A file is known by its name and its content. A job holds a lock from its first look to its last entry in the ledger, so
a claim found in the ledger belongs to a job that died. What it left is done again: the output's name depends on the
file alone, so a second try replaces what the first one may have written.

    look -> hash -> claim (ledger) -> score into a hidden file -> move into place -> done (ledger)
                                   `-> rejected (ledger) -> reason beside -> move to quarantine
"""

import errno
import glob
import hashlib
import shutil
import sqlite3
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from unroll import params, paths
from unroll.errors import DataError, UnrollError
from unroll.files import replacing, sha256_of, write_json
from unroll.inference.batches import Skipped
from unroll.inference.bundle import load_bundle
from unroll.inference.forms import as_text, stem_of
from unroll.inference.ledger import Entry, Ledger
from unroll.inference.scorer import Scorer, SetAside
from unroll.inference.stamps import ChangedError, require_same, stamp_of

_UNFINISHED = (".part", ".partial", ".tmp", ".crdownload")
_SECOND_LOOK_SECONDS = 1.0
_LOCK_SECONDS = 600.0
_ROWS = ".quarantine.parquet"
"""Ending of a file of rows that were set aside."""
_NAME_BYTES = 150
"""Of a name that becomes part of another: with what is added, it must stay within a file system's 255 bytes."""


@dataclass(frozen=True)
class ScoredFile:
    """A file of the inbox whose predictions are in place."""

    file: str
    rows: int
    output: Path
    skipped: tuple[Skipped, ...] = ()
    """Parts of the file that could not be scored: tickers with too few days, say."""
    set_aside: SetAside | None = None
    """Rows that could not be scored: empty texts, say."""
    notes: tuple[str, ...] = ()
    """What is to be said of the file besides its rows and output."""


@dataclass(frozen=True)
class Refusal:
    """A file of the inbox that was not scored, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class InboxReport:
    """What one job did. Every file of the inbox stands in one of the four."""

    model_version: str
    scored: tuple[ScoredFile, ...]
    waiting: tuple[Refusal, ...]
    """Left in the inbox for the next run."""
    rejected: tuple[Refusal, ...]
    """Moved to quarantine."""
    already_done: tuple[str, ...]

    def lines(self) -> list[dict[str, str]]:
        """One row a file that something was to be said of: its name, its state, and rows and output, or the reason."""
        rows = [
            (one.file, "scored", "; ".join([f"{one.rows:,} rows in {one.output}", *one.notes])) for one in self.scored
        ]
        rows += [(one.file, "set aside", one.reason) for one in self.rejected]
        rows += [(one.file, "waiting", one.reason) for one in self.waiting]
        return [{"file": file, "state": state, "what": what} for file, state, what in rows]


def score_new(scoring: params.Scoring) -> InboxReport:
    """Scores what is new in the repository's inbox, as the parameters say; raises what `score_inbox` raises."""
    return score_inbox(
        paths.bundle(scoring.experiment),
        paths.INBOX,
        paths.PREDICTIONS,
        paths.QUARANTINE,
        paths.LEDGER,
        batch_rows=scoring.batch_rows,
        threads=scoring.threads,
        settle_seconds=scoring.settle_seconds,
    )


def score_inbox(
    bundle_dir: Path,
    inbox: Path,
    predictions: Path,
    quarantine: Path,
    ledger_path: Path,
    *,
    batch_rows: int = 512,
    threads: int = 2,
    settle_seconds: float = 5.0,
    lock_seconds: float = _LOCK_SECONDS,
) -> InboxReport:
    """Scores every file of the inbox that was not scored before.

    Args:
        bundle_dir: The model. It is verified before anything is touched.
        inbox: Its files stay where they are; sub-folders are not looked into.
        predictions: Gets STEM-SHA8.parquet for each file, SHA8 being the start of its content's SHA-256.
        quarantine: Gets what cannot be scored: a whole file, with NAME.reason.json beside it, or of a file whose other
            rows are scored STEM-SHA8.quarantine.parquet.
        ledger_path: SQLite file; made if missing. The lock stands beside it.
        batch_rows: Rows of one call of the graph.
        threads: Batches scored at once.
        settle_seconds: A file that changed within so many seconds counts as still being written.
        lock_seconds: How long to wait for another job to end.

    Raises:
        BundleError: The bundle is incomplete or altered.
        UnrollError: Another job holds the lock, or the ledger, predictions or quarantine cannot be written.
    """
    scorer = Scorer(load_bundle(bundle_dir), threads, batch_rows)
    for folder in (inbox, predictions, ledger_path.parent):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with (
            FileLock(ledger_path.with_name(ledger_path.name + ".lock"), timeout=lock_seconds),
            Ledger(ledger_path) as ledger,
        ):
            return _Job(scorer, inbox, predictions, quarantine, ledger).run(settle_seconds)
    except Timeout as error:
        raise UnrollError(
            f"another scoring job has held {error.lock_file} for {lock_seconds:g} s; wait for it or end it"
        ) from None
    except sqlite3.Error as error:
        raise UnrollError(
            f"the ledger {ledger_path} cannot be used: {error}; it says what was scored before: free it, make room, "
            "or restore it from a copy"
        ) from error


class _Job:
    """One pass over the inbox, under the lock."""

    def __init__(self, scorer: Scorer, inbox: Path, predictions: Path, quarantine: Path, ledger: Ledger) -> None:
        self._scorer = scorer
        self._inbox = inbox
        self._predictions = predictions
        self._quarantine = quarantine
        self._ledger = ledger
        self._scored: list[ScoredFile] = []
        self._waiting: list[Refusal] = []
        self._rejected: list[Refusal] = []
        self._already_done: list[str] = []

    def run(self, settle_seconds: float) -> InboxReport:
        for path, stamp in self._settled(settle_seconds):
            try:
                self._one(path, stamp)
            except ChangedError:
                self._wait(path, "changed while it was read")
        return InboxReport(
            model_version=self._scorer.bundle.version,
            scored=tuple(self._scored),
            waiting=tuple(self._waiting),
            rejected=tuple(self._rejected),
            already_done=tuple(self._already_done),
        )

    def _settled(self, settle_seconds: float) -> list[tuple[Path, str]]:
        """Files that nobody seems to be writing and that are not known by their stamp, seen twice."""
        seen = []
        for path in sorted(self._inbox.iterdir()):
            if path.name.startswith(".") or path.suffix.lower() in _UNFINISHED:
                self._wait(path, "by its name still being written")
                continue
            try:
                status = path.stat()
            except OSError as error:
                self._wait(path, f"cannot be looked at: {error.strerror}")
                continue
            if not stat.S_ISREG(status.st_mode):
                self._wait(path, "no file; put files into the inbox itself, not into folders")
            elif self._ledger.is_done(as_text(path.name), stamp_of(status)):
                self._already_done.append(as_text(path.name))
            elif abs(time.time() - status.st_mtime) < settle_seconds:
                self._wait(path, f"changed within the last {settle_seconds:g} s, perhaps still being written")
            else:
                seen.append((path, stamp_of(status)))
        if seen and settle_seconds:
            # A copy that keeps the old file's time looks settled, but grows.
            time.sleep(min(settle_seconds, _SECOND_LOOK_SECONDS))
        return seen

    def _one(self, path: Path, stamp: str) -> None:
        name = as_text(path.name)
        require_same(path, stamp)
        try:
            sha256 = sha256_of(path)
        except OSError as error:
            self._wait(path, f"cannot be read: {error.strerror}")
            return
        require_same(path, stamp)
        known = self._ledger.entry(name, sha256)
        if known and known.state == "done":
            self._ledger.restamp(known, stamp)
            self._already_done.append(name)
            return
        entry = self._ledger.claim(name, sha256, stamp, self._scorer.bundle.version, _output_names(name, sha256))
        output = self._predictions / entry.output
        aside = self._quarantine / f"{output.stem}{_ROWS}"
        for place in (output, aside):
            for left in place.parent.glob(f".{glob.escape(place.name)}.*.part"):
                left.unlink()  # by a job that was killed
        try:
            scored = self._scorer.score_file(
                path,
                output,
                quarantine=aside,
                note={"source": name, "source_sha256": sha256},
                before_move=lambda: require_same(path, stamp),
            )
        except DataError as error:
            self._reject(path, stamp, entry, as_text(str(error)))
            return
        except ChangedError:
            self._ledger.release(entry)
            raise
        rows_aside = scored.set_aside.rows if scored.set_aside else 0
        self._ledger.done(entry, scored.rows, scored.skipped, rows_aside)
        notes = tuple(scored.notes())
        self._scored.append(ScoredFile(name, scored.rows, output, scored.skipped, scored.set_aside, notes))

    def _reject(self, path: Path, stamp: str, entry: Entry, reason: str) -> None:
        """Sets a file aside. Killed at any point, the next run finds the file in the inbox and does it again."""
        try:
            require_same(path, stamp)  # half a file is no reason to reject the whole
        except ChangedError:
            self._ledger.release(entry)
            raise
        self._ledger.rejected(entry, reason)
        place = self._quarantine / _cut(entry.name)
        if place.name.endswith(_ROWS) or (place.exists() and sha256_of(place) != entry.sha256):
            place = place.with_name(f"{entry.sha256[:8]}-{place.name}")  # another file may have that name
        try:
            write_json(
                place.with_name(f"{place.name}.reason.json"),
                {
                    "file": entry.name,
                    "sha256": entry.sha256,
                    "model_version": entry.model_version,
                    "reason": reason,
                    "what_to_do": "mend the file and put it into the inbox again, or delete it with this note",
                },
            )
            _move(path, place)
        except OSError as error:
            raise UnrollError(
                f"{path} cannot be moved to {place}: {error.strerror}; it was not scored, because: {reason}"
            ) from error
        self._rejected.append(Refusal(entry.name, reason))

    def _wait(self, path: Path, reason: str) -> None:
        self._waiting.append(Refusal(as_text(path.name), reason))


def _output_names(name: str, sha256: str) -> tuple[str, str]:
    """Names for a file's predictions; the second is for content that came as a.csv and as a.CSV, say."""
    first = f"{_cut(stem_of(name))}-{sha256[:8]}"
    return f"{first}.parquet", f"{first}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.parquet"


def _cut(name: str) -> str:
    return name.encode()[:_NAME_BYTES].decode(errors="ignore")


def _move(path: Path, place: Path) -> None:
    try:
        path.replace(place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # Quarantine is on another disk: copied whole, then removed.
        with replacing(place) as part:
            shutil.copyfile(path, part)
        path.unlink()
