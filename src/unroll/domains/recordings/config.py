"""Sections of params.yaml for recordings."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from unroll.config.section import Section, TaskSection
from unroll.config.sources import RowDataset

FIELD = re.compile(r"\{([a-z_]+)\}")
"""A part of a file's name, in `file_name`."""
Milliseconds = Annotated[float, Field(ge=1, le=1000)]


class LabelColumns(Section):
    """Columns of a table of labels."""

    file: Annotated[str, Field(min_length=1)] = "file"
    label: Annotated[str, Field(min_length=1)] = "label"
    speaker: Annotated[str, Field(min_length=1)] | None = None
    """null: the column `speaker`, if there is one."""


class RecordingDataset(RowDataset):
    """Recordings, each with a class: sound files, a recording each, its label in its name or in a table; or npz files
    of arrays X [frame, feature], all recordings in a row, y (classes from 0), lengths (frames), optionally speaker."""

    domain: Literal["recordings"]
    sample_rate: Annotated[int, Field(ge=1000)] = 8000
    """Samples a second that sound is resampled to. Channels are averaged."""
    file_name: str | None = None
    """What the names of sound files mean, without the ending, such as `{label}/{speaker}_nohash_{take}`: `{label}` is
    needed, `{speaker}` is the voice, other names are ignored; null: `{label}_{speaker}_{take}`, a number last."""
    label_table: str | None = None
    """CSV or TSV file with the labels of the sound files, relative to the folder of the source; null: they are in the
    names of the files."""
    columns: LabelColumns = LabelColumns()
    """Names of the columns of `label_table`."""
    max_bad_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Sound files that are damaged, empty or silent are left out; a larger share of them, rounded up to a whole file,
    is an error."""

    @field_validator("file_name")
    @classmethod
    def _names_the_label(cls, pattern: str | None) -> str | None:
        fields = FIELD.findall(pattern or "{label}")
        if "label" not in fields or len(set(fields)) != len(fields) or "}{" in (pattern or ""):
            raise ValueError("expected {label} and other parts, each once and with something between them")
        return pattern

    @model_validator(mode="after")
    def _has_one_origin_of_labels(self) -> Self:
        if self.file_name is not None and self.label_table is not None:
            raise ValueError("labels come from file_name or from label_table; leave one of them out")
        return self


class FrontEnd(Section):
    """Features that are computed from samples, in the model."""

    kind: Literal["log_mel", "mfcc"] = "log_mel"
    window_ms: Milliseconds = 25.0
    """Length of a frame, in milliseconds."""
    hop_ms: Milliseconds = 10.0
    """Time from one frame to the next, in milliseconds."""
    mels: Annotated[int, Field(ge=2)] = 40
    """Bands of the mel scale, up to half the sample rate."""
    low_hz: Annotated[float, Field(ge=0)] = 20.0
    """Lower end of the first band."""
    coefficients: Annotated[int, Field(ge=1)] = 13
    """Cepstral coefficients of a frame, for mfcc."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.window_ms < self.hop_ms:
            raise ValueError("window_ms is less than hop_ms, so some samples are in no frame")
        if self.kind == "mfcc" and self.coefficients > self.mels:
            raise ValueError("there are more coefficients than mels")
        return self


class RecordingTask(TaskSection):
    """Classify a recording; the test uses voices that are not in training."""

    domain: Literal["recordings"]
    kind: Literal["classification"]
    front_end: FrontEnd = FrontEnd()
    """How features are computed from samples; not used where the data has features."""
    hold_out_speakers: bool = True
    """Whether the test uses voices that are not in training; false: recordings are split at random."""
    voices: Annotated[int, Field(ge=2)] = 6
    """Number of clusters of recordings that stand in for speakers, where the data names none."""
    valid_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the speakers whose recordings are used for validation, at least one; of the recordings in a random
    split, and where voices are clusters."""
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the speakers whose recordings are used for the test, at least one; of the recordings in a random split,
    which gives `accuracy_random_split`."""
    normalize: bool = True
    """Scale each recording's features to mean 0 and standard deviation 1."""
    deltas: bool = True
    """Append the change of each feature over time."""
    seed: int = 0

    @model_validator(mode="after")
    def _leaves_some(self) -> Self:
        if self.valid_share + self.test_share >= 1:
            raise ValueError("valid_share and test_share leave no rows for training")
        return self
