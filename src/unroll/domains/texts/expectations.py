"""What the table has to keep."""

from unroll.validation.row_expectations import expectations

__all__ = ["expectations"]
