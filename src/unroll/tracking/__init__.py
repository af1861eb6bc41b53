"""MLflow: the only package that imports it."""

from unroll.tracking.provenance import data_hashes
from unroll.tracking.results import send_results, unsent
from unroll.tracking.runs import Run, member_prefix

__all__ = ["Run", "data_hashes", "member_prefix", "send_results", "unsent"]
