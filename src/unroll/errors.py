"""Every error that unroll raises on purpose.

    UnrollError
    ├── ParameterError        params.yaml or an option has a value that cannot be used
    ├── DataError             data is not as it should be
    │   ├── SourceError       the bytes of a source are missing or not the expected ones
    │   ├── FormatError       a file is not what its name or its source says
    │   ├── ExpectationError  a dataset fails its expectations
    │   └── SplitError        a split is empty, leaks, or cannot be made
    ├── TrainingError         training cannot continue (loss not finite, checkpoint of another network)
    ├── ExportError           ONNX and torch disagree, or a module cannot be exported
    ├── BundleError           a bundle is incomplete, altered, or of another format
    ├── TrackingError         the MLflow store cannot be used
    │   └── VersionError      a registered version cannot be used: its files are missing or were altered
    └── ServiceUnavailable    a server does not answer; the same command may succeed later

ServiceUnavailable is raised where unroll meets a network: downloads of sources, object stores, MLflow, Prefect.

A message says what was found, what was expected, in which file, row or key, and what to do. The command line prints it
as one line and exits 2, or 75 for ServiceUnavailable; any other exception is a bug, keeps its traceback and exits 1.
Messages may quote addresses with passwords: `unroll.redaction` removes them where text is printed or logged.
"""

UNAVAILABLE_EXIT = 75
"""Exit code of ServiceUnavailable (EX_TEMPFAIL of sysexits.h)."""


class UnrollError(Exception):
    """Base of every error that unroll raises on purpose."""


class ParameterError(UnrollError):
    """A parameter or an option that cannot be used."""


class DataError(UnrollError):
    """Data that is not as it should be."""


class SourceError(DataError):
    """Bytes of a source that are missing or not the expected ones."""


class FormatError(DataError):
    """A file that is not what its name or its source says."""


class ExpectationError(DataError):
    """A dataset that fails its expectations."""


class SplitError(DataError):
    """A split that is empty, leaks, or cannot be made."""


class TrainingError(UnrollError):
    """Training that cannot continue."""


class ExportError(UnrollError):
    """A model that cannot be exported, or whose export disagrees with it."""


class BundleError(UnrollError):
    """A bundle that is incomplete, altered, or of another format."""


class TrackingError(UnrollError):
    """An MLflow store that cannot be used."""


class VersionError(TrackingError):
    """A registered version whose files are missing or were altered, although the store answers."""


class ServiceUnavailable(UnrollError):  # noqa: N818 -- as HTTP names it
    """A server that gave no complete answer in any attempt; the same command may succeed later."""
