"""Domain `strips`: several digits side by side, composed from a dataset of the domain `digits`."""

from unroll.domains.domain import Domain
from unroll.domains.strips.config import StripCaptionTask, StripColumnTask

DOMAIN = Domain("strips", tasks=(StripColumnTask, StripCaptionTask), made_from="digits")
