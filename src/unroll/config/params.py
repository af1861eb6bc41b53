"""All of params.yaml. Datasets and tasks are unions over all domains."""

from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import Field

from unroll.config.scoring import Scoring
from unroll.config.section import Name, Section
from unroll.config.tuning import ExperimentRow
from unroll.domains import DOMAINS


def _union(kinds: list[Any], discriminator: str) -> Any:
    """Return a union with a discriminator, which pydantic does not allow for a single member."""
    union = reduce(or_, kinds)
    return union if len(kinds) == 1 else Annotated[union, Field(discriminator=discriminator)]


DATASET: Any = _union([domain.dataset for domain in DOMAINS if domain.dataset], "domain")
"""Section of a dataset of any domain."""
TASK: Any = _union([_union(list(domain.tasks), "kind") for domain in DOMAINS], "domain")
"""Section of a task of any domain and kind."""


class Promotion(Section):
    """When a trained model passes the gates of promotion; not a stage of DVC."""

    margin: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """How much worse than the strongest baseline, and than the champion, a model may be, relative to the other's
    metric. The 95 % interval of the difference has to exclude more; otherwise the test rows are too few to tell."""


class Params(Section):
    """All of params.yaml."""

    datasets: dict[Name, DATASET]
    tasks: dict[Name, TASK]
    experiments: dict[Name, ExperimentRow]
    scoring: Scoring = Scoring()
    promotion: Promotion = Promotion()
