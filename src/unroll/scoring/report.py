"""What a scoring job did, file by file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from unroll.errors import UnrollError
from unroll.scoring.drift import DriftReport

FileState = Literal["scored", "rejected", "waiting", "failed", "gone", "known"]


@dataclass(frozen=True)
class FileReport:
    """One file of the inbox.

    Attributes:
        file: Its path below the input, as the ledger has it.
        state: `scored`: now. `rejected`: moved to quarantine. `waiting`: left in the inbox for the next run. `failed`:
            the same, but because the program or the model failed at it. `gone`: a job that died was at it, and it is no
            longer in the inbox. `known`: was scored before.
        rows_in: Rows that it holds. 0 where they were not counted.
        rows_scored: Of these, those in `output`.
        rows_quarantined: Of these, those in `quarantine`, each with its reason.
        output: Address of its predictions.
        quarantine: Address of the rows that were set aside, or of the whole file.
        reason: Why it was not scored.
        notes: What else is to be said of it.
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

    def line(self) -> dict[str, str]:
        """The file, its state, and rows and output, or the reason."""
        what = self.reason or f"{self.rows_scored:,} rows in {self.output}"
        return {"file": self.file, "state": self.state, "what": "; ".join([what, *self.notes])}


@dataclass(frozen=True)
class Totals:
    """Files of each state, and rows of those that were scored now: in = scored + quarantined."""

    scored: int
    rejected: int
    waiting: int
    failed: int
    known: int
    rows_in: int
    rows_scored: int
    rows_quarantined: int


@dataclass(frozen=True)
class JobReport:
    """What one job did.

    Attributes:
        model_version: `NAME@SHA12` of the bundle that scored.
        registered: Name, version and MLflow run of it in the registry; None where it is a folder.
        files: Every file of the inbox, in the order of names.
        drift: How far rows and predictions are from training; None where the bundle has no reference.
        seconds: How long the job took.
    """

    model_version: str
    registered: Mapping[str, str] | None
    files: tuple[FileReport, ...]
    drift: DriftReport | None
    seconds: float

    def of(self, state: FileState) -> tuple[FileReport, ...]:
        """The files of a state."""
        return tuple(one for one in self.files if one.state == state)

    @property
    def totals(self) -> Totals:
        """Sums over the files."""
        scored = self.of("scored")
        return Totals(
            scored=len(scored),
            rejected=len(self.of("rejected")),
            waiting=len(self.of("waiting")),
            failed=len(self.of("failed")),
            known=len(self.of("known")),
            rows_in=sum(one.rows_in for one in scored),
            rows_scored=sum(one.rows_scored for one in scored),
            rows_quarantined=sum(one.rows_quarantined for one in scored),
        )

    def lines(self) -> list[dict[str, str]]:
        """One row a file that something is to be said of."""
        return [one.line() for one in self.files if one.state != "known"]

    def require_no_failure(self) -> None:
        """Raises UnrollError where the program or the model failed at a file."""
        failed = self.of("failed")
        if failed:
            raise UnrollError(
                f"{len(failed):,} files could not be scored through no fault of theirs; they stay in the inbox and are "
                f"tried again by the next run. The first is {failed[0].file}: {failed[0].reason}"
            )

    def summary(self) -> str:
        """One line of totals."""
        sums = self.totals
        failed = f"{sums.failed:,} FAILED, " if sums.failed else ""
        name = f" ({self.registered['name']} version {self.registered['version']})" if self.registered else ""
        return (
            f"{sums.scored:,} files scored with {self.model_version}{name} in {self.seconds:.1f} s: "
            f"{sums.rows_in:,} rows in, {sums.rows_scored:,} scored, {sums.rows_quarantined:,} set aside; "
            f"{sums.rejected:,} files rejected, {failed}{sums.waiting:,} wait, {sums.known:,} were scored before"
        )
