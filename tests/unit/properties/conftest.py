"""How often the properties are tried: a few times with fixed seeds, or as HYPOTHESIS_PROFILE says."""

import os

from hypothesis import HealthCheck, settings

_FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
_ALWAYS = {"deadline": None, "database": None, "suppress_health_check": _FIXTURES}
settings.register_profile("quick", max_examples=20, derandomize=True, **_ALWAYS)
settings.register_profile("thorough", max_examples=300, **_ALWAYS)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
