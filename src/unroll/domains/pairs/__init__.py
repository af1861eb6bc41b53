"""Domain `pairs`: pairs of sentences in two languages."""

from unroll.domains.domain import Domain
from unroll.domains.pairs.config import PairDataset, TranslationTask

DOMAIN = Domain("pairs", dataset=PairDataset, tasks=(TranslationTask,))
