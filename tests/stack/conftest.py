"""Real servers for these tests, and for them alone."""

from collections.abc import Iterator

import pytest
from stack_processes import Stack, new_stack


@pytest.fixture(scope="module")
def stores() -> Iterator[Stack]:
    """PostgreSQL and the S3-compatible store."""
    with new_stack() as stack:
        stack.start("--services", "postgres,s3")
        yield stack


@pytest.fixture
def empty() -> Iterator[Stack]:
    """Nothing that runs."""
    with new_stack() as stack:
        yield stack
