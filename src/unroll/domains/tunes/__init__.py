"""Domain `tunes`: tunes in ABC notation."""

from unroll.domains.domain import Domain
from unroll.domains.tunes.config import TuneDataset, TuneTask

DOMAIN = Domain("tunes", dataset=TuneDataset, tasks=(TuneTask,))
