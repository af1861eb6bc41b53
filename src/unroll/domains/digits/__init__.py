"""Domain `digits`: images of handwritten digits, read row by row."""

from unroll.domains.digits.config import DigitDataset, DigitTask
from unroll.domains.domain import Domain

DOMAIN = Domain("digits", dataset=DigitDataset, tasks=(DigitTask,))
