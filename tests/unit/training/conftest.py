"""Trainings that each have a checkpoint of their own."""

import pytest
from small_trainings import Job


@pytest.fixture
def job(tiny, tmp_path):
    count = iter(range(99))

    def make(**options):
        folder = tmp_path / str(next(count))
        return Job(tiny, options.pop("folder", folder), **options)

    return make
