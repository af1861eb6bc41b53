"""Score one file of the inbox and put what comes out into place.

For a file `a/b.csv`, in this order:

1. the markers of its earlier versions are removed;
2. rows that cannot be scored go to `QUARANTINE/a/b.csv.parquet`;
3. predictions go to `OUTPUT/a/b.csv.parquet`, replaced whole or not at all;
4. the marker `OUTPUT/_scored/a/b.csv@VERSION.json` is written.

A file that cannot be scored gets `QUARANTINE/a/b.csv.reason.json` and a marker; predictions of earlier contents stay.
"""

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from unroll.config.scoring import Scoring
from unroll.errors import BundleError, DataError, UnrollError
from unroll.files import write_json
from unroll.inference.bundle import load_bundle
from unroll.inference.scored import Scored
from unroll.redaction import printable
from unroll.scoring.drift import DriftMonitor
from unroll.scoring.engine import LostError, open_engine
from unroll.scoring.markers import Markers
from unroll.scoring.names import safe_name, shown_name
from unroll.scoring.report import FileReport, FileState
from unroll.scoring.storage import Storage, StoredFile, TryLaterError

_ADVICE = "replace the file by one that can be scored, touch it to have it tried again, or remove it"
_log = logging.getLogger(__name__)


class FilePublisher:
    """A model and the folders that its predictions go to.

    Attributes:
        engine: A context manager, within which files are scored.
        monitor: Monitor of the drift of all files.

    Args:
        scoring: Limits.
        model: Folder of the bundle.
        registered: The model's name, version and run_id in the registry.
        folders: Input, output and quarantine.
        markers: Markers of the output.

    Raises:
        BundleError: The bundle is incomplete or altered.
    """

    def __init__(
        self,
        scoring: Scoring,
        model: Path,
        registered: Mapping[str, str] | None,
        folders: tuple[Storage, Storage, Storage],
        markers: Markers,
    ) -> None:
        bundle = load_bundle(model)
        self.model_version, self.registered = bundle.version, registered
        self.monitor = DriftMonitor(bundle)
        self.engine = open_engine(scoring, bundle, folders)
        self._inbox, self._output, self._quarantine = folders
        self._markers, self._lock = markers, threading.Lock()

    def deal_with(self, file: StoredFile, folder: Path) -> FileReport:
        """Score a listed file, reject it, or renew its marker if it was only touched; `folder` is an empty one.

        Several threads may call it, each with a file of its own.

        Raises:
            TryLaterError: It changed meanwhile, or may not be read.
            UnrollError: A folder cannot be read or written.
        """
        about: dict[str, Any] = {"source": shown_name(file.name)}
        if self.registered:
            about["registered"] = dict(self.registered)
        try:
            content = self.engine.examine(file, folder)
            if self._markers.renew(file, content.sha256, folder):
                return FileReport(about["source"], "known")
            about["source_sha256"] = content.sha256
            scored = self.engine.score(file, content, folder, {**about, "quarantine": self._quarantine_of(file)})
        except DataError as error:
            self._inbox.require_unchanged(file)
            return self._reject(file, about, printable(str(error)), folder)
        except (BundleError, LostError) as error:
            return FileReport(about["source"], "failed", reason=str(error))
        except (UnrollError, TryLaterError):
            raise
        except Exception as error:
            # Whatever a library makes of this file, those after it do not have to wait.
            _log.exception("scoring %s failed", about["source"])
            return FileReport(about["source"], "failed", reason=f"{type(error).__name__}: {error}; this is a bug")
        self._inbox.require_unchanged(file)
        return self._publish(file, about, scored, folder)

    def _publish(self, file: StoredFile, about: Mapping[str, Any], scored: Scored, folder: Path) -> FileReport:
        counts = {name: getattr(scored, name) for name in ("rows_in", "rows_scored", "rows_quarantined")}
        _require_balance(scored)
        name = f"{safe_name(file.name)}.parquet"
        self._markers.remove(file)
        self._quarantine.remove(f"{safe_name(file.name)}.reason.json")
        if scored.quarantine:
            self._quarantine.put(scored.quarantine, name)
        else:
            self._quarantine.remove(name)
        self._output.put(scored.output, name)
        self._mark(file, about, "scored", folder, **counts)
        with self._lock:
            self.monitor.add(scored.rows_scored, scored.counts)
        place = self._quarantine_of(file)
        return FileReport(
            about["source"],
            "scored",
            **counts,
            output=f"{self._output.address}/{name}",
            quarantine=place if scored.quarantine else None,
            notes=tuple(one.replace(str(scored.quarantine), place) for one in scored.notes()),
        )

    def _reject(self, file: StoredFile, about: Mapping[str, Any], reason: str, folder: Path) -> FileReport:
        name = f"{safe_name(file.name)}.reason.json"
        found = {
            "file": about["source"],
            "sha256": about["source_sha256"],
            "model_version": self.model_version,
            "reason": reason,
        }
        write_json(folder / "reason.json", {**found, "what_to_do": _ADVICE})
        self._markers.remove(file)
        self._quarantine.put(folder / "reason.json", name)
        self._mark(file, about, "rejected", folder, reason=reason)
        return FileReport(about["source"], "rejected", quarantine=f"{self._quarantine.address}/{name}", reason=reason)

    def _mark(self, file: StoredFile, about: Mapping[str, Any], state: FileState, folder: Path, **more: Any) -> None:
        found = {"file": about["source"], "sha256": about["source_sha256"], "state": state}
        model = {"model_version": self.model_version, "registered": self.registered}
        self._markers.put(file, {**found, **model, **more}, folder)

    def _quarantine_of(self, file: StoredFile) -> str:
        return f"{self._quarantine.address}/{safe_name(file.name)}.parquet"


def _require_balance(scored: Scored) -> None:
    """Raise UnrollError unless rows in = scored + quarantined, as counted in the written files."""

    def rows_of(path: Path) -> int:
        with path.open("rb") as file:
            return int(pq.read_metadata(file).num_rows)

    written = rows_of(scored.output), rows_of(scored.quarantine) if scored.quarantine else 0
    if written != (scored.rows_scored, scored.rows_quarantined) or scored.rows_in != sum(written):
        raise UnrollError(
            f"{scored.source}: of {scored.rows_in:,} rows, {written[0]:,} were written as scored and {written[1]:,} as "
            f"quarantined; expected {scored.rows_scored:,} scored and the rest quarantined"
        )
