"""One file a kind of problem; `task_of` picks it by the parameters."""

from unroll import params
from unroll.tasks import digits, prices, quantiles
from unroll.tasks.task import Task


def task_of(name: str, section: params.Task) -> Task:
    """The task that a section of params.yaml describes."""
    if isinstance(section, params.DigitTask):
        return digits.digit_task(name)
    if isinstance(section, params.PriceTask):
        return prices.price_task(name, section)
    if isinstance(section, params.LogReturnTask):
        return prices.log_return_task(name, section)
    return quantiles.quantile_task(name, section)
