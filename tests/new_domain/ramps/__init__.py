"""Sequences of numbers that rise or fall."""

from unroll.domains.ramps.config import RampDataset, RampTask

from unroll.domains.domain import Domain

DOMAIN = Domain("ramps", dataset=RampDataset, tasks=(RampTask,))
