"""Domain `texts`: labeled texts."""

from unroll.domains.domain import Domain
from unroll.domains.texts.config import TextClassTask, TextDataset

DOMAIN = Domain("texts", dataset=TextDataset, tasks=(TextClassTask,))
