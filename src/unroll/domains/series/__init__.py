"""Domain `series`: numbers at regular times, such as weather, sensors and demand."""

from unroll.domains.domain import Domain
from unroll.domains.series.config import ForecastTask, SeriesDataset

DOMAIN = Domain("series", dataset=SeriesDataset, tasks=(ForecastTask,))
