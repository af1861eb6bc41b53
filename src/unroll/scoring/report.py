"""What a scoring job did, file by file."""

import csv
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from unroll.errors import UnrollError

if TYPE_CHECKING:
    from unroll.scoring.drift import DriftReport

FileState = Literal["scored", "rejected", "waiting", "failed", "known"]


@dataclass(frozen=True)
class FileReport:
    """One file of the inbox.

    Attributes:
        file: Path below the input.
        state: `scored` by this job; `rejected` because it cannot be scored; `waiting` for the next job; `failed`
            because of the program or the model, and tried again by the next job; `known` from an earlier job.
        rows_in: Rows of a file that was scored: those scored and those quarantined.
        rows_scored: Rows in `output`.
        rows_quarantined: Rows in `quarantine`, each with its reason.
        output: Address of the predictions.
        quarantine: Address of the quarantined rows, or of the reason file.
        reason: Why the file was not scored.
        notes: Further remarks.
    """

    file: str
    state: FileState
    rows_in: int = 0
    rows_scored: int = 0
    rows_quarantined: int = 0
    output: str | None = None
    quarantine: str | None = None
    reason: str | None = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        line = self.line()
        return f"{line['file']}: {line['state']}: {line['what']}"

    def line(self) -> dict[str, str]:
        """Return the file, its state, and its rows and output, or the reason."""
        what = self.reason or f"{self.rows_scored:,} rows in {self.output}"
        return {"file": self.file, "state": self.state, "what": "; ".join([what, *self.notes])}


@dataclass(frozen=True)
class JobReport:
    """What one job did.

    Attributes:
        model_version: `NAME@SHA12` of the bundle; None if there was nothing to score.
        registered: Name, version and MLflow run of the model in the registry; None for a folder.
        files: Every file of the inbox, sorted by name.
        drift: How far rows and predictions are from those of training; None if the bundle has no reference.
        seconds: Duration of the job.
    """

    model_version: str | None
    registered: Mapping[str, str] | None
    files: tuple[FileReport, ...]
    drift: "DriftReport | None"
    seconds: float

    def of(self, state: FileState) -> tuple[FileReport, ...]:
        """Return the files of a state."""
        return tuple(one for one in self.files if one.state == state)

    def counts(self) -> dict[str, int]:
        """Return the number of files of each state, and the rows that were read, scored and quarantined."""
        states = Counter(one.state for one in self.files)
        rows = ("rows_in", "rows_scored", "rows_quarantined")
        return {
            **{state: states[state] for state in ("scored", "rejected", "waiting", "failed", "known")},
            **{name: sum(getattr(one, name) for one in self.files) for name in rows},
        }

    def metrics(self) -> dict[str, float]:
        """Return counts and drift for MLflow."""
        return {f"files.{name}": value for name, value in self.counts().items()} | (
            self.drift.metrics() if self.drift else {}
        )

    def lines(self) -> list[dict[str, str]]:
        """Return one row for each file that was not known before."""
        return [one.line() for one in self.files if one.state != "known"]

    def to_csv(self) -> str:
        """Return the same files with all that is known of them, as CSV."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(FileReport.__dataclass_fields__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(one) | {"notes": "; ".join(one.notes)} for one in self.files if one.state != "known")
        return text.getvalue()

    def require_no_failure(self) -> None:
        """Raise UnrollError if the program or the model failed at a file."""
        if failed := self.of("failed"):
            raise UnrollError(
                f"{len(failed):,} files could not be scored because of the model or the program; the next job tries "
                f"them again. The first is {failed[0].file}: {failed[0].reason}"
            )

    def summary(self) -> str:
        """Return one line of totals."""
        found = self.counts()
        name = f" ({self.registered['name']} version {self.registered['version']})" if self.registered else ""
        return (
            f"{found['scored']:,} files scored{f' with {self.model_version}' if self.model_version else ''}{name} in "
            f"{self.seconds:.1f} s: {found['rows_in']:,} rows read, {found['rows_scored']:,} scored, "
            f"{found['rows_quarantined']:,} quarantined; {found['rejected']:,} files rejected, "
            f"{found['failed']:,} failed, {found['waiting']:,} waiting, {found['known']:,} scored before"
        )
