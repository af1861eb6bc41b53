"""Domain `tagged`: sentences with a tag for each token."""

from unroll.domains.domain import Domain
from unroll.domains.tagged.config import TaggedDataset, TaggingTask

DOMAIN = Domain("tagged", dataset=TaggedDataset, tasks=(TaggingTask,))
