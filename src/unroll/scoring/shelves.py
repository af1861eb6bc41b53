"""Where a job puts what it made, and what of it lies in which place at which moment."""

import shutil
from pathlib import Path

from unroll.errors import ParameterError
from unroll.files import write_json
from unroll.inference.stamps import ChangedError
from unroll.scoring import names
from unroll.scoring.ledger import Entry, Ledger
from unroll.scoring.places import Found, Place, above, overlap, place_of


def places_apart(inbox: str, output: str, quarantine: str) -> tuple[Place, Place, Place]:
    """The places of three addresses.

    Raises:
        ParameterError: One lies in another, or in `superseded` beside the output.
        UnrollError: An address cannot be used.
    """
    found = (place_of(inbox), place_of(output), place_of(quarantine))
    named = list(zip(("input", "output", "quarantine"), found, strict=True))
    named.append(("output, superseded", above(found[1], "superseded")))
    for at, (one, here) in enumerate(named):
        for other, there in named[at + 1 :]:
            if overlap(here, there):
                raise ParameterError(
                    f"{here.address} (scoring.{one}) and {there.address} (scoring.{other}) lie one in the other; "
                    "choose places apart"
                )
    return found


class Shelves:
    """The places of a job that holds the inbox's lock. Whatever a method was killed at, the next job puts right.

    Args:
        inbox: What is scored.
        output: For predictions; `superseded` beside it, for those that others took the place of.
        quarantine: For rows and files that cannot be scored.
        ledger: Open.
        work: Folder for files on their way from and to object stores.
        key: Tells this job's inbox and ledger from others that use the same folders.
    """

    def __init__(self, inbox: Place, output: Place, quarantine: Place, ledger: Ledger, work: Path, key: str) -> None:
        self.inbox, self.output, self.quarantine = inbox, output, quarantine
        self.work = work / key
        self._superseded = above(output, "superseded")
        self._ledger = ledger
        self._staged = output.staging(key, self.work / "output")
        self._aside = quarantine.staging(key, self.work / "quarantine")

    def addresses(self) -> str:
        """Of all places, for a message."""
        return f"input {self.inbox.address}, output {self.output.address}, quarantine {self.quarantine.address}"

    def staged(self, entry: Entry) -> tuple[Path, Path]:
        """Files of this machine to write predictions, and rows that were set aside, to."""
        return self._staged / Path(entry.output).name, self._aside / Path(names.aside(entry.output)).name

    def tidy(self) -> None:
        """Puts right what jobs that were killed left: under the lock, nobody else is at it."""
        self.clean()
        for entry in self._ledger.unfinished():
            if entry.state == "superseded":
                self._retire(entry)

    def clean(self) -> None:
        """Removes what was staged."""
        for folder in (self._staged, self._aside, self.work):
            if folder.is_dir():
                shutil.rmtree(folder)

    def publish(self, entry: Entry, staged: Path, aside: Path | None) -> None:
        """Puts a file's predictions and rows that were set aside into place, once those of older contents are away.

        Raises:
            UnrollError: Another job has taken the claim over.
        """
        self._ledger.require_claim(entry)
        for other in self._ledger.others(entry.path, entry.sha256):
            self._retire(other)
        if aside:
            self.quarantine.publish(aside, names.aside(entry.output))
        else:
            self.quarantine.remove(names.aside(entry.output))
        self.output.publish(staged, entry.output)

    def is_published(self, entry: Entry) -> bool:
        """Whether a claim's predictions are in place: the last step of `publish`, after which nothing is missing."""
        return self._at(entry.place).exists(entry.output)

    def clear(self, entry: Entry) -> None:
        """Removes what a try of a claim, which was killed, may have put into place."""
        if entry.state == "claimed":
            self._at(entry.place).remove(entry.output)
            self._at(entry.quarantine).remove(names.aside(entry.output))

    def reject(self, found: Found, entry: Entry, reason: str) -> str:
        """Moves a file to quarantine, with a note beside it; gives its name there.

        Raises:
            ChangedError: It changed: half a file is no reason to reject the whole, and a mended one stays.
        """
        self.inbox.require_same(found)
        self.clear(entry)
        self._ledger.rejected(entry, reason)
        name = names.rejected(found.name, entry.sha256, entry.output, taken=False)
        if self.quarantine.exists(name) and self.quarantine.sha256(name) != entry.sha256:
            name = names.rejected(found.name, entry.sha256, entry.output, taken=True)
        note = self._aside / f"{Path(name).name}.reason.json"
        write_json(
            note,
            {
                "file": entry.path,
                "sha256": entry.sha256,
                "model_version": entry.model_version,
                "reason": reason,
                "what_to_do": "mend the file and put it into the inbox again, or delete it with this note",
            },
        )
        self.quarantine.publish(note, f"{name}.reason.json")
        try:
            self.inbox.take(found.name, self.quarantine, name, self.work, found)
        except ChangedError:
            # The note stays only beside the content that it is about.
            if not self.quarantine.exists(name) or self.quarantine.sha256(name) != entry.sha256:
                self.quarantine.remove(name)
                self.quarantine.remove(f"{name}.reason.json")
            raise
        return name

    def _retire(self, entry: Entry) -> None:
        """Moves away what is in place for a content that another has taken the place of."""
        if entry.state != "superseded":
            self._ledger.supersede(entry)
        for address, name in ((entry.quarantine, names.aside(entry.output)), (entry.place, entry.output)):
            place = self._at(address)
            if place.exists(name):
                place.take(name, self._superseded, names.retired(name, entry.token), self.work)
        self._ledger.moved(entry)

    def _at(self, address: str) -> Place:
        """The place of an address that the ledger has; mostly one of today's, which is connected already."""
        here = (self.output, self.quarantine)
        return next((one for one in here if one.address == address), None) or place_of(address)
