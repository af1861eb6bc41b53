"""Domain `prices`: daily prices of stocks."""

from unroll.domains.domain import Domain
from unroll.domains.prices.config import LevelTask, LogReturnTask, PriceDataset, QuantileTask

DOMAIN = Domain("prices", dataset=PriceDataset, tasks=(LevelTask, LogReturnTask, QuantileTask))
