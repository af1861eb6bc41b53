"""What the table has to satisfy."""

from unroll.validation.row_expectations import expectations

__all__ = ["expectations"]
