"""Every error that unroll raises on purpose.

    UnrollError
    ├── ParameterError        params.yaml or an option says something that cannot be used
    ├── DataError             data that is there, but not as it should be
    │   ├── SourceError       bytes that could not be fetched, or are not the promised ones
    │   ├── FormatError       a file that is not what its name or its source says
    │   ├── ExpectationError  data that fails its expectations
    │   └── SplitError        a split that is empty, leaks, or cannot be made
    ├── TrainingError         a run that cannot go on (loss not finite, checkpoint that does not fit)
    ├── ExportError           ONNX and torch disagree, or a module cannot be exported
    ├── BundleError           a bundle that is incomplete, altered, or of another format
    ├── TrackingError         the MLflow store cannot be used
    └── (pipelines)           DvcError, StageError, TrainingFlowError: DVC or one of its stages failed

A message says what was found, what was expected, in which file, row or key, and what to do.
`unroll.cli` prints it as one line and exits 2; any other exception keeps its traceback and exits 1.
"""


class UnrollError(Exception):
    """Base of every error that unroll raises on purpose."""


class ParameterError(UnrollError):
    """A parameter or an option that cannot be used."""


class DataError(UnrollError):
    """Data that is there, but not as it should be."""


class SourceError(DataError):
    """Bytes that could not be fetched, or are not the promised ones."""


class FormatError(DataError):
    """A file that is not what its name or its source says."""


class ExpectationError(DataError):
    """Data that fails its expectations."""


class SplitError(DataError):
    """A split that is empty, leaks, or cannot be made."""


class TrainingError(UnrollError):
    """A training run that cannot go on."""


class ExportError(UnrollError):
    """A model that cannot be exported, or whose export disagrees with it."""


class BundleError(UnrollError):
    """A bundle that is incomplete, altered, or of another format."""


class TrackingError(UnrollError):
    """An MLflow store that cannot be used."""
