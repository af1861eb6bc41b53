"""MLflow: the only package that imports it."""

from unroll.tracking.runs import Run, data_hashes, flat, member_prefix

__all__ = ["Run", "data_hashes", "flat", "member_prefix"]
