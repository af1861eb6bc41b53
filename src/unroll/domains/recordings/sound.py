"""Sound files as a dataset: samples, and labels and speakers from names or from a table."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from unroll.config.sources import TableSettings
from unroll.domains.recordings.config import FIELD, RecordingDataset
from unroll.errors import FormatError
from unroll.features.text_files import normal
from unroll.sources.layouts import read_table
from unroll.sources.sound import Samples, read_sound, sound_files

if TYPE_CHECKING:
    from unroll.sources.fetch import Fetched

Tags = tuple[str, str | None]
"""Label and speaker of a file."""

_SHOWN = 10
"""Files that were left out and are listed in ingest.json."""
_DEFAULT = "{label}_{speaker}_{take}"
_REMEDY = (
    "say what the names mean with `file_name`, such as '{label}/{speaker}_{take}', or give the labels in a table with "
    "`label_table`"
)


def schema(sample_rate: int) -> pa.Schema:
    """Return the columns of a table of sound."""
    return pa.schema(
        [
            ("row_id", pa.int64()),
            ("split", pa.string()),
            ("label", pa.string()),
            ("speaker", pa.string()),
            ("file", pa.string()),
            ("samples", pa.large_list(pa.field("element", pa.float32(), nullable=False))),
        ],
        {"sample_rate": str(sample_rate)},
    )


@dataclass
class SoundRows:
    """Rows of sound files, and what was left out."""

    samples: list[Samples] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    speakers: list[str | None] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    unlabeled: int = 0

    def add(self, source: "Fetched", section: RecordingDataset) -> dict[str, Any]:
        """Read the files of a source; return what to record of it.

        Raises:
            FormatError: A file has no label, or the names or the table do not say which one it is.
        """
        files = sound_files(source.path)
        folder = source.path if source.path.is_dir() else source.path.parent
        if section.label_table is None:
            tags = _from_names(files, folder, section.file_name)
        else:
            tags = _from_table(folder / section.label_table, files, folder, section)
            self.unlabeled += len(files) - len(tags)
        before = len(self.samples)
        for path, (label, speaker) in tags.items():
            name = path.relative_to(folder).as_posix()
            found = read_sound(path, section.sample_rate)
            if isinstance(found, str):
                self.faults.append(f"{name}: {found}")
                continue
            self.samples.append(found)
            self.labels.append(label)
            self.speakers.append(speaker)
            self.files.append(name)
            self.splits.append(source.split)
        return {"rows": len(self.samples) - before, "sound_files": len(files)}

    def check(self, section: RecordingDataset) -> None:
        """Check the share of files that were left out.

        Raises:
            FormatError: It is larger than allowed, or nothing is left.
        """
        total = len(self.samples) + len(self.faults)
        if not total:
            raise FormatError("no sound file was found; does the label table name any?")
        if not self.samples or len(self.faults) > math.ceil(section.max_bad_share * total):
            raise FormatError(
                f"{len(self.faults):,} of {total:,} sound files cannot be used, more than max_bad_share "
                f"{section.max_bad_share:g} of the dataset allows; the first: {'; '.join(self.faults[:3])}"
            )

    def table(self, section: RecordingDataset) -> pa.Table:
        """Return row_id, split, label string, speaker, file, and samples list<float32> at the dataset's rate."""
        ends = np.cumsum([0, *map(len, self.samples)])
        kind = schema(section.sample_rate)
        columns = {
            "row_id": np.arange(len(self.samples)),
            "split": pa.array(self.splits, pa.string()),
            "label": self.labels,
            "speaker": pa.array(self.speakers, pa.string()),
            "file": self.files,
            "samples": pa.LargeListArray.from_arrays(
                pa.array(ends, pa.int64()), pa.array(np.concatenate(self.samples)), type=kind.field("samples").type
            ),
        }
        return pa.table(columns, schema=kind)

    def changes(self) -> dict[str, Any]:
        """Return what ingest.json records of files that were left out."""
        left_out = {"left_out": len(self.faults), "left_out_first": self.faults[:_SHOWN]} if self.faults else {}
        return left_out | ({"not_in_label_table": self.unlabeled} if self.unlabeled else {})

    def notes(self) -> list[str]:
        """Return sentences for the terminal about files that were left out."""
        found = []
        if self.faults:
            total = len(self.samples) + len(self.faults)
            found.append(f"sound files left out: {len(self.faults):,} of {total:,}, first {self.faults[0]}")
        if self.unlabeled:
            found.append(f"sound files that label_table does not name, left out: {self.unlabeled:,}")
        return found


def _from_names(files: list[Path], folder: Path, pattern: str | None) -> dict[Path, Tags]:
    """Return the tags of each file by its name; a pattern of n parts is compared with the last n parts of the path."""
    parts = (pattern or _DEFAULT).count("/") + 1
    lazy, greedy = (_expression(pattern or _DEFAULT, repeat) for repeat in ("+?", "+"))
    found: dict[Path, Tags] = {}
    for path in files:
        name = normal("/".join(path.relative_to(folder).with_suffix("").parts[-parts:]))
        match = lazy.fullmatch(name)
        other = greedy.fullmatch(name)
        if match and other and other.groups() != match.groups():
            raise FormatError(f"{path}: {pattern or _DEFAULT} fits its name in more than one way; {_REMEDY}")
        if not match or (pattern is None and not match["take"].isdecimal()):
            raise FormatError(f"{path}: its name does not have the form {pattern or _DEFAULT}; {_REMEDY}")
        found[path] = match["label"], match.groupdict().get("speaker")
    return found


def _expression(pattern: str, repeat: str) -> re.Pattern[str]:
    # Every other part is the name of a field.
    pieces = FIELD.split(pattern)
    parts = [f"(?P<{one}>[^/]{repeat})" if place % 2 else re.escape(one) for place, one in enumerate(pieces)]
    return re.compile("".join(parts))


def _from_table(path: Path, files: list[Path], folder: Path, section: RecordingDataset) -> dict[Path, Tags]:
    """Return the tags of the files that a table names."""
    if not path.is_file():
        raise FormatError(f"{path} does not exist; `label_table` names a CSV or TSV file in the folder of the source")
    columns = section.columns
    names, rows = read_table(path, TableSettings(), (columns.file, columns.label, columns.speaker or "speaker"))
    places: dict[str, int] = {}
    for part, name in columns.model_dump().items():
        wanted = name or "speaker"
        if names.count(wanted) == 1:
            places[part] = names.index(wanted)
        elif name or names.count(wanted):
            raise FormatError(f"{path} needs one column {wanted!r}; it has {', '.join(names)}; set `columns.{part}`")
    known = _by_name(files, folder)
    found: dict[Path, Tags] = {}
    for line, cells in rows:
        cell, label = normal(cells[places["file"]]), normal(cells[places["label"]])
        speaker = normal(cells[places["speaker"]]) if "speaker" in places else None
        file = known.get(cell)
        if file is None:
            raise FormatError(f"{path}, line {line:,}: there is no one sound file {cell!r} in {folder}")
        if file in found or not label or speaker == "":
            what = "stands twice" if file in found else f"has no {'speaker' if label else 'label'}"
            raise FormatError(f"{path}, line {line:,}: {cell} {what}")
        found[file] = label, speaker
    return found


def _by_name(files: list[Path], folder: Path) -> Mapping[str, Path | None]:
    """Return files by their paths in a folder and by their names alone, None if several have one; with endings or not.

    A path wins over a name.
    """
    found: dict[str, Path | None] = {}
    for alone in (True, False):
        own: dict[str, Path | None] = {}
        for path in files:
            name = normal(path.name if alone else path.relative_to(folder).as_posix())
            for key in (name, name.removesuffix(path.suffix)):
                own[key] = None if key in own else path
        found |= own
    return found
