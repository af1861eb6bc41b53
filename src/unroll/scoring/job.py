"""Scores what is new in an inbox, each file exactly once.

A file is known by its path and its content. A job holds the inbox's lock from its first look to its last entry in the
ledger, so a claim found in the ledger belongs to a job that died. What it left is done again: the output's name depends
on the file and the day of its first claim alone, so a second try replaces what the first one may have put there.

    look → fetch and hash → claim → score into a staged file → older content's output away → rows set aside in place
         → predictions in place → done
                                  ↘ rejected → reason in place → file to quarantine

A file at which the program itself fails keeps its claim and its place, and the others are scored.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from unroll import paths
from unroll.config.scoring import Scoring
from unroll.errors import BundleError, DataError, UnrollError
from unroll.inference.batches import Check
from unroll.inference.bundle import Bundle, load_bundle
from unroll.inference.file_scorer import FileScorer, Scored
from unroll.inference.stamps import ChangedError
from unroll.scoring import names
from unroll.scoring.database import Database
from unroll.scoring.drift import Watch
from unroll.scoring.ledger import Claim, Entry, Ledger, new_token
from unroll.scoring.places import Folder, Found, UnreadableError
from unroll.scoring.report import FileReport, FileState, JobReport
from unroll.scoring.shelves import Shelves, places_apart
from unroll.scoring.stores import store_errors

UNFINISHED = (".part", ".partial", ".tmp", ".crdownload")
"""Endings of files that are still being written."""
_SECOND_LOOK_SECONDS = 1.0
_GONE = "a job that was killed was at it, and it is no longer in the inbox; "


@dataclass(frozen=True)
class Model:
    """A bundle to score with.

    Attributes:
        folder: The bundle, or the model's folder that holds it.
        registered: Name, version and run_id of it in the registry.
    """

    folder: Path
    registered: Mapping[str, str] | None = None


Resolve = Callable[[str], Model]
"""Finds the model of an address; raises where there is none."""
Tell = Callable[[FileReport], None]


def a_folder(address: str) -> Model:
    """The model in a folder; registries are for callers that may import MLflow."""
    return Model(Path(address))


def score_inbox(
    scoring: Scoring,
    *,
    resolve: Resolve = a_folder,
    ledger_url: str | None = None,
    check: Callable[[Bundle], Check | None] = lambda _: None,
    tell: Tell = lambda _: None,
    stopped: Callable[[JobReport], None] = lambda _: None,
    work: Path = paths.STAGING,
    lock_seconds: float = 600.0,
    away_seconds: float = 60.0,
) -> JobReport:
    """Scores every file of the input that was not scored before.

    Args:
        scoring: Model, places, and how. Input files stay where they are. The output gets
            `scored_on=DATE/FOLDERS/STEM-SHA8.parquet` for each, SHA8 being the start of its content's SHA-256; the
            quarantine what cannot be scored: whole files, with NAME.reason.json beside, or of files whose other rows
            are scored STEM-SHA8.quarantine.parquet. `superseded` beside the output gets the predictions for older
            contents of a file.
        resolve: Finds the model. It is called once, and the model verified, before anything is touched.
        ledger_url: Stands in for the parameter.
        check: Gives, for the bundle, what says of many rows which may not be scored, and why.
        tell: Is called with each file as it is done.
        stopped: Is called with what was done so far where the job does not come to its end.
        work: Folder for files on their way from and to object stores.
        lock_seconds: How long to wait for another job to end.
        away_seconds: How long to wait for a ledger's server that goes away.

    Raises:
        BundleError: The bundle is incomplete or altered.
        ParameterError: Two of the places lie in one another.
        UnrollError: Another job holds the lock, or the ledger or a place cannot be read or written.
    """
    start = time.perf_counter()
    model = resolve(scoring.model)
    bundle = load_bundle(model.folder)
    watch = Watch(bundle)
    inbox, output, quarantine = places_apart(scoring.input, scoring.output, scoring.quarantine)
    url = ledger_url or scoring.ledger or f"sqlite:///{paths.LEDGER}"
    database = Database(url, inbox.address, lock_seconds, away_seconds)

    def new_scorer() -> FileScorer:
        return FileScorer(
            bundle,
            scoring.threads,
            scoring.batch_rows,
            memory_mb=scoring.memory_mb,
            check=check(bundle),
            watch=watch if bundle.reference else None,
        )

    files: list[FileReport] = []

    def report() -> JobReport:
        limits = scoring.drift
        return JobReport(
            model_version=bundle.version,
            registered=model.registered,
            files=tuple(sorted(files, key=lambda one: one.file)),
            drift=watch.report(psi_limit=limits.psi, ks_limit=limits.ks, min_rows=limits.min_rows),
            seconds=time.perf_counter() - start,
        )

    def told(one: FileReport) -> None:
        files.append(one)
        if one.state != "known":
            tell(one)

    try:
        with Ledger(database) as ledger:
            shelves = Shelves(inbox, output, quarantine, ledger, work, database.key)
            _Job(new_scorer, bundle.version, model.registered, shelves, ledger, scoring, told).run()
    except BaseException:
        if any(one.state == "scored" for one in files):
            stopped(report())
        raise
    return report()


class _Job:
    """One pass over the inbox, under its lock."""

    def __init__(
        self,
        new_scorer: Callable[[], FileScorer],
        version: str,
        registered: Mapping[str, str] | None,
        shelves: Shelves,
        ledger: Ledger,
        scoring: Scoring,
        tell: Tell,
    ) -> None:
        self._new_scorer = new_scorer
        self._version, self._registered = version, registered
        self._shelves, self._inbox, self._ledger = shelves, shelves.inbox, ledger
        self._settle, self._max_bad_share = scoring.settle_seconds, scoring.max_bad_share
        self._tell_one = tell

    def run(self) -> None:
        try:
            self._shelves.tidy()
            seen, settled = self._look()
            if settled:
                self._all(settled)
            for entry in self._ledger.unfinished():
                if entry.path not in seen:
                    self._settle_gone(entry)
            self._shelves.clean()
        except store_errors() as error:
            raise UnrollError(
                f"scoring stopped: {' '.join(str(error).split()) or type(error).__name__} "
                f"({self._shelves.addresses()}); what is done is kept: mend it and run again"
            ) from error

    def _all(self, settled: list[Found]) -> None:
        # Made here, for most jobs find nothing new; what checks rows gets ready while files settle.
        scorer = self._new_scorer()
        if self._settle:
            # A copy that keeps the old file's time looks settled, but grows.
            time.sleep(min(self._settle, _SECOND_LOOK_SECONDS))
        for found in settled:
            try:
                self._one(scorer, found)
            except ChangedError:
                self._wait(found, "changed while it was read")

    def _look(self) -> tuple[set[str], list[Found]]:
        """Every file's name, and the files that nobody seems to be writing and that are not known by their stamp."""
        if isinstance(self._inbox, Folder):
            self._inbox.path.mkdir(parents=True, exist_ok=True)
        known = self._ledger.done_stamps()
        seen, settled = set(), []
        for found in sorted(self._inbox.files(), key=lambda one: one.name):
            name = names.shown(found.name)
            seen.add(name)
            hidden = any(part.startswith((".", "_")) for part in found.name.split("/"))
            if hidden or found.name.lower().endswith(UNFINISHED):
                self._wait(found, "by its name hidden, or still being written")
            elif found.problem:
                self._wait(found, found.problem)
            elif (name, found.stamp) in known:
                self._tell(name, "known")
            elif abs(time.time() - found.changed) < self._settle:
                self._wait(found, f"changed within the last {self._settle:g} s, perhaps still being written")
            else:
                settled.append(found)
        return seen, settled

    def _one(self, scorer: FileScorer, found: Found) -> None:
        name = names.shown(found.name)
        try:
            with self._inbox.fetched(found, self._shelves.work) as (path, sha256):
                known = self._ledger.entry(name, sha256)
                if known and known.state == "done":
                    self._ledger.restamp(known, found.stamp)
                    self._tell(name, "known")
                    return
                entry = self._claim(found, name, sha256, known)
                try:
                    self._score(scorer, found, path, entry)
                except ChangedError:
                    self._shelves.clear(entry)
                    self._ledger.release(entry)
                    raise
        except UnreadableError as error:
            self._wait(found, f"cannot be read: {error}")

    def _claim(self, found: Found, name: str, sha256: str, known: Entry | None) -> Entry:
        place, quarantine = self._shelves.output.address, self._shelves.quarantine.address
        if known and (known.place, known.quarantine) != (place, quarantine):
            self._shelves.clear(known)
        claim = Claim(
            path=name,
            sha256=sha256,
            size=found.size,
            stamp=found.stamp,
            place=place,
            quarantine=quarantine,
            model_version=self._version,
            registered=self._registered,
        )
        return self._ledger.claim(claim, new_token(), lambda day: names.outputs(found.name, sha256, day))

    def _settle_gone(self, entry: Entry) -> None:
        """Ends a claim whose file nobody can score any more."""
        if self._shelves.is_published(entry):
            # What is in place came there whole, and last.
            self._ledger.done(entry)
            what = f"its predictions are in {entry.place}/{entry.output}"
        else:
            self._shelves.clear(entry)
            self._ledger.release(entry)
            what = "nothing of it was put into place"
        self._tell(entry.path, "gone", reason=_GONE + what)

    def _score(self, scorer: FileScorer, found: Found, path: Path, entry: Entry) -> None:
        staged, aside = self._shelves.staged(entry)
        aside_name = f"{entry.quarantine}/{names.aside(entry.output)}"
        note: dict[str, Any] = {"source": entry.path, "source_sha256": entry.sha256, "quarantine": aside_name}
        if self._registered:
            note["registered"] = dict(self._registered)
        try:
            scored = scorer.score_file(
                path,
                staged,
                quarantine=aside,
                note=note,
                max_bad_share=self._max_bad_share,
                before_move=lambda: self._inbox.require_same(found),
            )
        except DataError as error:
            reason = names.shown(str(error).replace(str(path), f"{self._inbox.address}/{found.name}"))
            place = self._shelves.reject(found, entry, reason)
            self._tell(entry.path, "rejected", quarantine=f"{entry.quarantine}/{place}", reason=reason)
            return
        except BundleError as error:
            self._tell(entry.path, "failed", reason=str(error))
            return
        except (UnrollError, ChangedError):
            raise
        except store_errors():
            raise
        except Exception as error:
            # Whatever a library makes of this one file, the files after it are not to wait for it.
            self._tell(entry.path, "failed", reason=f"{type(error).__name__}: {error}; a fault of unroll's")
            return
        quarantined = scored.set_aside.rows if scored.set_aside else 0
        _require_balance(scored, quarantined)
        self._shelves.publish(entry, staged, aside if scored.set_aside else None)
        self._ledger.done(entry, scored.rows_in, scored.rows, quarantined)
        self._tell(
            entry.path,
            "scored",
            rows_in=scored.rows_in,
            rows_scored=scored.rows,
            rows_quarantined=quarantined,
            output=f"{entry.place}/{entry.output}",
            quarantine=aside_name if quarantined else None,
            notes=tuple(one.replace(str(aside), aside_name) for one in scored.notes()),
        )

    def _wait(self, found: Found, reason: str) -> None:
        self._tell(names.shown(found.name), "waiting", reason=reason)

    def _tell(self, file: str, state: FileState, **what: Any) -> None:
        self._tell_one(FileReport(file, state, **what))


def _require_balance(scored: Scored, quarantined: int) -> None:
    """Raises UnrollError unless in = scored + quarantined, by what the written files say of themselves."""
    files = [(scored.output, scored.rows)] + ([(scored.set_aside.output, quarantined)] if scored.set_aside else [])
    for path, rows in files:
        with path.open("rb") as file:
            written = pq.read_metadata(file).num_rows
        if written != rows:
            raise UnrollError(f"{path} holds {written:,} rows of {rows:,}; the disk or this program is at fault")
    if scored.rows_in != scored.rows + quarantined:
        raise UnrollError(
            f"{scored.source}: {scored.rows_in:,} rows were read, {scored.rows:,} scored and {quarantined:,} set "
            "aside; this is a fault of unroll's"
        )
