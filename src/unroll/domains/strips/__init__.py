"""Domain `strips`: several digits side by side, composed from a dataset of the domain `digits`."""

from unroll.domains.domain import Domain
from unroll.domains.strips.config import StripCaptionTask, StripColumnTask, StripReadingTask

DOMAIN = Domain("strips", tasks=(StripColumnTask, StripCaptionTask, StripReadingTask), made_from="digits")
