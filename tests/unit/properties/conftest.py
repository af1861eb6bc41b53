"""How often properties are tried: a few times, with fixed seeds; often and at random with HYPOTHESIS_PROFILE=thorough.

The few are not shrunk, which takes minutes.
"""

import os

from hypothesis import HealthCheck, Phase, settings

_FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
_ALWAYS = {"deadline": None, "database": None, "suppress_health_check": _FIXTURES}
settings.register_profile(
    "quick", max_examples=20, derandomize=True, phases=[Phase.explicit, Phase.generate], **_ALWAYS
)
settings.register_profile("thorough", max_examples=300, **_ALWAYS)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
