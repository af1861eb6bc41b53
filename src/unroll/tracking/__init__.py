"""MLflow: the only package that imports it."""

from unroll.tracking.provenance import data_hashes
from unroll.tracking.results import send_results, unsent
from unroll.tracking.runs import Run, member_prefix
from unroll.tracking.store import open_store

__all__ = ["Run", "data_hashes", "member_prefix", "open_store", "send_results", "unsent"]
