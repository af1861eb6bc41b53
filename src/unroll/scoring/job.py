"""Score each new file of an inbox exactly once, without a ledger: the output folder is the record.

What a job does to a file depends on the file's bytes and the model alone, and ends with a marker in the output
(`unroll.scoring.publish`). So a job may be killed anywhere, run twice, or run on two machines at once: the next one
does the same thing to the same names.
"""

import contextlib
import functools
import itertools
import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from unroll import paths
from unroll.config.scoring import Scoring
from unroll.errors import ParameterError
from unroll.scoring.markers import Markers, Rescore
from unroll.scoring.names import shown_name
from unroll.scoring.report import FileReport, JobReport
from unroll.scoring.storage import Storage, StoredFile, TryLaterError
from unroll.sources.forms import is_marker

if TYPE_CHECKING:
    from unroll.scoring.publish import FilePublisher

UNFINISHED = (".part", ".partial", ".tmp", ".crdownload")
"""Endings of files that are still being written."""
_SECOND_LOOK_SECONDS = 1.0
_STALE_SECONDS = 24 * 60 * 60


def find_model(address: str) -> tuple[Path, dict[str, str] | None]:
    """Return the folder of a model; for an address that begins with `models:/`, also name, version and run_id.

    Raises:
        ServiceUnavailable, TrackingError: The registry has no such model, or cannot be used.
    """
    if not address.startswith("models:/"):
        return Path(address), None
    from unroll.tracking import registry

    found = registry.resolve(address)
    return found.folder, {"name": found.name, "version": found.version, "run_id": found.run_id}


def shadow_of(scoring: Scoring) -> Scoring:
    """Return the parameters of the shadow's job: the same inbox and limits, its own model and folders.

    Raises:
        ParameterError: There is no shadow, or one of its folders overlaps with one of the first model.
    """
    shadow = scoring.shadow
    if shadow is None:
        raise ParameterError("params.yaml has no `shadow` under `scoring`; expected the model to score with")
    for mine, theirs in itertools.product((shadow.output, shadow.quarantine), (scoring.output, scoring.quarantine)):
        if Storage(mine).overlaps(Storage(theirs)):
            raise ParameterError(f"scoring.shadow has the folder {mine}, which overlaps with {theirs}; give it its own")
    return scoring.model_copy(update=shadow.model_dump(exclude={"seconds"}) | {"shadow": None})


def score_inbox(
    scoring: Scoring,
    *,
    on_file: Callable[[FileReport], None] = lambda _: None,
    on_stop: Callable[[JobReport], None] = lambda _: None,
    staging: Path = paths.STAGING,
    rescore_since: datetime | None = None,
) -> JobReport:
    """Score every file of the input that was not scored before.

    Args:
        scoring: Model, folders and limits. Input files stay where they are. The model is looked for only if there is
            something new to score.
        on_file: Called with each file that was dealt with or has to wait.
        on_stop: Called with what was scored, rejected or failed so far if the job breaks off.
        staging: Folder for files on their way to their places.
        rescore_since: Also score files again that another model has dealt with since then, as if they were new.

    Raises:
        BundleError: The bundle is incomplete or altered; nothing was touched.
        TrackingError: The registry does not have the model, or cannot be used.
        ParameterError: An address cannot be used, one of the folders is inside another, or the output is that of
            another inbox.
        ServiceUnavailable: An object store or the registry is unavailable; finished files are kept.
        UnrollError: A folder cannot be read or written; finished files are kept.
    """
    job = _Job(scoring, on_file, staging, rescore_since)
    try:
        job.run()
    except BaseException:
        report = job.report()
        if any(one.state not in ("known", "waiting") for one in report.files):
            on_stop(report)
        raise
    return job.report()


class _Job:
    def __init__(
        self, scoring: Scoring, on_file: Callable[[FileReport], None], staging: Path, since: datetime | None
    ) -> None:
        self._began = time.perf_counter()
        self._since = since
        self._scoring, self._on_file, self._staging = scoring, on_file, staging
        self._folders = _open_folders(scoring)
        self._markers = Markers(self._folders[1], self._folders[0])
        self._files: list[FileReport] = []
        self._publisher: FilePublisher | None = None

    def run(self) -> None:
        found = None
        if self._since is not None:
            from unroll.inference.bundle import load_bundle

            found = find_model(self._scoring.model)
            self._markers.rescore = Rescore(load_bundle(found[0]).version, self._since)
        new = self._new_files()
        if not new:
            return
        # Imported here: this takes half a second, and most jobs find nothing new.
        from unroll.scoring.publish import FilePublisher

        looked = time.perf_counter()
        model, registered = found or find_model(self._scoring.model)
        self._publisher = publisher = FilePublisher(self._scoring, model, registered, self._folders, self._markers)
        with publisher.engine as engine:
            _make_staging(self._staging)
            # A copy that keeps the old file's time looks settled, but grows.
            least = min(self._scoring.settle_seconds, _SECOND_LOOK_SECONDS)
            time.sleep(max(0.0, least - (time.perf_counter() - looked)))
            for report in engine.map(functools.partial(self._deal_with, publisher), new):
                self._add(report)

    def _deal_with(self, publisher: "FilePublisher", file: StoredFile) -> FileReport:
        with tempfile.TemporaryDirectory(dir=self._staging, ignore_cleanup_errors=True) as folder:
            try:
                return publisher.deal_with(file, Path(folder))
            except TryLaterError as error:
                return _waits(file, str(error))

    def report(self) -> JobReport:
        publisher, limits = self._publisher, self._scoring.drift
        files, seconds = tuple(sorted(self._files, key=lambda one: one.file)), time.perf_counter() - self._began
        if publisher is None:
            return JobReport(None, None, files, None, seconds)
        drift = publisher.monitor.report(psi_limit=limits.psi, ks_limit=limits.ks, min_rows=limits.min_rows)
        return JobReport(publisher.model_version, publisher.registered, files, drift, seconds)

    def _new_files(self) -> list[StoredFile]:
        """Return the files that are neither done nor, as far as one can see, still being written."""
        new = []
        for file in self._folders[0].files():
            if is_marker(file.name.rpartition("/")[2]):
                continue
            if self._markers.is_done(file):
                self._add(FileReport(shown_name(file.name), "known"))
            elif reason := self._reason_to_wait(file):
                self._add(_waits(file, reason))
            else:
                new.append(file)
        return new

    def _reason_to_wait(self, file: StoredFile) -> str | None:
        settle = self._scoring.settle_seconds
        if any(part.startswith((".", "_")) for part in file.name.split("/")):
            return "a part of its name begins with . or _"
        if file.name.lower().endswith(UNFINISHED):
            return "its name is that of a file that is still being written"
        if not file.problem and abs(time.time() - file.changed) < settle:
            return f"it changed within the last {settle:g} s and may still be written"
        return file.problem

    def _add(self, file: FileReport) -> None:
        self._files.append(file)
        if file.state != "known":
            self._on_file(file)


def _waits(file: StoredFile, reason: str) -> FileReport:
    return FileReport(shown_name(file.name), "waiting", reason=reason)


def _open_folders(scoring: Scoring) -> tuple[Storage, Storage, Storage]:
    names = ("input", "output", "quarantine")
    folders = Storage(scoring.input), Storage(scoring.output), Storage(scoring.quarantine)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        if folders[first].overlaps(folders[second]):
            raise ParameterError(
                f"scoring.{names[first]} ({folders[first].address}) and scoring.{names[second]} "
                f"({folders[second].address}) overlap; expected separate folders"
            )
    return folders


def _make_staging(staging: Path) -> None:
    """Make the staging folder, and remove what killed jobs left in it: a day is longer than any job."""
    staging.mkdir(parents=True, exist_ok=True)
    for folder in staging.iterdir():
        # Another job may remove its own meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
