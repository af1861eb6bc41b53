"""Strips of several digits side by side, composed from a dataset of the digits domain."""

from unroll.domains.domain import Domain
from unroll.domains.strips.config import StripCaptionTask, StripColumnTask

DOMAIN = Domain("strips", tasks=(StripColumnTask, StripCaptionTask), made_from="digits")
