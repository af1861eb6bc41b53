"""Domain `recordings`: recordings as frames of features."""

from unroll.domains.domain import Domain
from unroll.domains.recordings.config import RecordingDataset, RecordingTask

DOMAIN = Domain("recordings", dataset=RecordingDataset, tasks=(RecordingTask,))
